"""POST /v1/embeddings: unit vectors of texts, and of pictures and recordings."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, HTTPException, Request
from pydantic import BeforeValidator, Field

from omni.serve.body import Item, JSONRoute, Name, Text, query
from omni.serve.engine import Engine, engine_of
from omni.serve.fields import Compatible, note, refusal
from omni.serve.settings import MAX_ITEMS

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["OpenAI"])
TOKENS = (
    "token ids are of another model's tokenizer and cannot be read here: send texts "
    "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"
)


def _no_tokens(value: Any) -> Any:
    """Ids, as LangChain sends them by default, say nothing without the tokenizer they are of."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | float) or (isinstance(first, list) and first):
        raise refusal(TOKENS)
    return value


class Embeddings(Compatible):
    """As OpenAI's, where an input may also be an object of media; token ids are refused."""

    input: Annotated[
        Text | Item | Annotated[list[Text | Item], Field(min_length=1, max_length=MAX_ITEMS)],
        BeforeValidator(_no_tokens),
    ]
    model: Name | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


@router.post("/embeddings")
async def embed(request: Request, body: Embeddings) -> dict[str, Any]:
    """Vectors of length 1 in one space, whatever the sense."""
    engine = engine_of(request, body.model)
    width = engine.process.about.width
    if body.dimensions not in (None, width):
        raise HTTPException(422, f"dimensions must be {width}, got {body.dimensions}")
    note(request, body)
    inputs = body.input if isinstance(body.input, list) else [body.input]
    items = [x if isinstance(x, str) else await query(request, x, engine) for x in inputs]
    vectors = await _embed(engine, items, request.app.state.settings.batch)
    data = [
        {"object": "embedding", "index": i, "embedding": _written(vector, body.encoding_format)}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return {"object": "list", "data": data, "model": engine.name, "usage": usage}


async def _embed(engine: Engine, items: list, batch: int) -> list[np.ndarray]:
    """Batch by batch, so that a long list takes no more room in the queue than a short one."""
    vectors: list[np.ndarray] = []
    for start in range(0, len(items), batch):
        vectors += await engine.do("embed", items[start : start + batch])
    return vectors


def _written(vector: np.ndarray, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
