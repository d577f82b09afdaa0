"""POST /v1/images/generations: pictures of a text."""

import base64
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import Field

from omni.serve.body import Ignored, JSONRoute, Name, Text
from omni.serve.engine import engine_of

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["OpenAI"])


class Generation(Ignored):
    """As OpenAI's, and `seed`, `steps` and `guidance` as of `omni draw`."""

    prompt: Text
    model: Name | None = None
    n: Annotated[int, Field(ge=1, le=8)] = 1
    size: str = "auto"
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png"] = "png"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    steps: Annotated[int, Field(ge=1, le=50)] = 10
    guidance: Annotated[float, Field(ge=0, le=20)] = 3.0
    background: Any = None
    moderation: Any = None
    quality: Any = None
    style: Any = None


@router.post("/images/generations")
async def draw(request: Request, body: Generation) -> dict[str, Any]:
    """Pictures as PNG in base64, each of another draw."""
    engine = engine_of(request, body.model)
    side = engine.process.about.image_size
    if body.size not in ("auto", f"{side}x{side}"):
        raise HTTPException(422, f"size must be auto or {side}x{side}, got {body.size[:20]!r}")
    how = {"seed": body.seed, "steps": body.steps, "guidance": body.guidance}
    pictures = await engine.do("draw", [body.prompt] * body.n, **how)
    data = [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures]
    return {"created": int(time.time()), "data": data, "output_format": "png"}
