"""POST /v1/search, /v1/index and what is below: the index of the first model."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import Field, FiniteFloat

from omni.search.things import below, member
from omni.serve.body import Item, JSONRoute, Name, contents, query
from omni.serve.engine import Engine, engine_of
from omni.serve.indexing import READY

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["index"])
Sense = Literal["text", "image", "audio"]
Plain = str | Annotated[int, Field(ge=-(2**63), lt=2**63)] | FiniteFloat | bool
"""what SQLite can hold"""
MEDIA_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp",
    "wav": "audio/wav", "flac": "audio/flac", "opus": "audio/ogg", "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
}  # fmt: skip
"""of the members of a shard"""
RETRY_SECONDS = "10"
"""until the index may be there"""
OURS = ("text", "image", "audio")
"""metadata that say where a thing is: nobody else may"""


class Search(Item):
    """A query of one or several senses; `where` are metadata that an answer must have."""

    k: Annotated[int, Field(ge=1, le=100)] = 10
    senses: Annotated[tuple[Sense, ...], Field(max_length=3)] = ()
    where: Annotated[dict[Name, Plain], Field(default_factory=dict, max_length=16)]
    rerank: Annotated[int, Field(ge=0, le=50)] = 0


class Addition(Item):
    """An item by a name of its own; what the index has by that name is replaced."""

    name: Name
    meta: Annotated[dict[Name, Plain], Field(default_factory=dict, max_length=32)]


def _engine(request: Request) -> Engine:
    engine = engine_of(request, None)
    if not engine.has_index:
        raise HTTPException(404, "there is no index: it is given by --index")
    state = request.app.state.index.state
    if state != READY:
        raise HTTPException(503, state, {"Retry-After": RETRY_SECONDS})
    return engine


def _known(request: Request, id: int) -> tuple[str, dict[str, Any]]:
    """Name and metadata of an item. Raises `HTTPException` 404."""
    _engine(request)
    found = request.app.state.index.catalogue.find(id) if id < 2**63 else None
    if found is None:
        raise HTTPException(404, "there is no item of this id")
    return found


@router.post("/search")
async def search(request: Request, body: Search) -> dict[str, Any]:
    """The items nearest to the query, best first."""
    engine = _engine(request)
    item = await query(request, body, engine)
    where = json.dumps(body.where, sort_keys=True)
    senses = tuple(sorted(set(body.senses)))
    (hits,) = await engine.do(
        "search", [item], k=body.k, senses=senses, where=where, rerank=body.rerank
    )
    root = request.app.state.settings.root
    return {"hits": [_public(hit, f"{root}/") for hit in hits]}


def _public(hit: dict[str, Any], root: str) -> dict[str, Any]:
    """Without the paths of its things, of which the last part is left."""
    files = {k: Path(v).name for k, v in hit["meta"].items() if k in ("image", "audio")}
    return hit | {"name": hit["name"].removeprefix(root), "meta": hit["meta"] | files}


@router.post("/index", status_code=201)
async def add(request: Request, body: Addition) -> dict[str, Any]:
    """Puts an item into the index."""
    engine = _engine(request)
    if taken := sorted(set(OURS) & body.meta.keys()):
        raise HTTPException(422, f"meta must not hold {', '.join(taken)}: the index says these")
    content = await contents(request, body, engine)
    meta = body.meta | ({"text": body.text[:300]} if body.text else {})
    (id,) = await engine.do("add", [(body.name, content, meta)])
    return {"id": id, "name": body.name}


@router.delete("/index/{id}", status_code=204)
async def delete(request: Request, id: Annotated[int, Field(ge=0)]) -> Response:
    """Forgets an item."""
    name, _ = _known(request, id)
    await _engine(request).do("delete", [name])
    return Response(status_code=204)


@router.get("/items/{id}/{sense}", response_class=Response)
async def thing(request: Request, id: Annotated[int, Field(ge=0)], sense: Sense) -> Response:
    """The thing itself, where it is a file below the folder that may be given out, or a text."""
    _, meta = _known(request, id)
    if sense == "text" and "text" in meta:
        return PlainTextResponse(meta["text"])
    root, headers = request.app.state.settings.root, {"X-Content-Type-Options": "nosniff"}
    where = meta.get(sense)
    if sense != "text" and root and isinstance(where, str):
        if path := below(root, where):
            return FileResponse(path, headers=headers)
        if found := member(root, where, sense):
            extension, data = found
            return Response(data, media_type=MEDIA_TYPES[extension], headers=headers)
    raise HTTPException(404, f"the {sense} of this item cannot be given out")
