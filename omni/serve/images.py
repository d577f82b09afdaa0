"""POST /v1/images/generations: pictures of a text."""

import base64
import re
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import Field

from omni.serve.body import JSONRoute, Name, Text
from omni.serve.engine import engine_of
from omni.serve.fields import Compatible, Hint, Only, note

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["OpenAI"])
SIDES = 16, 1024
"""pixels of a picture's side: at least and at most"""
BEST = 100
"""quality of a JPEG or WebP where none is given"""


class Generation(Compatible):
    """As OpenAI's, and `seed`, `steps` and `guidance` as of `omni draw`."""

    prompt: Text
    model: Name | None = None
    n: Annotated[int, Field(ge=1, le=8)] = 1
    size: str = "auto"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = BEST
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    steps: Annotated[int, Field(ge=1, le=50)] = 10
    guidance: Annotated[float, Field(ge=0, le=20)] = 3.0

    response_format: Annotated[
        Any, Only("b64_json", why="pictures are kept nowhere, so they have no address")
    ] = None
    background: Annotated[Any, Only("auto", "opaque", why="no picture is transparent")] = None
    quality: Annotated[
        Any, Only("auto", "standard", why="there is one quality: see steps and guidance")
    ] = None
    style: Annotated[Any, Only(why="the prompt says the style")] = None
    stream: Annotated[Any, Only(False, why="a picture comes whole")] = None
    partial_images: Annotated[Any, Only(0, why="a picture comes whole")] = None
    frame_count: Annotated[Any, Only(1, why="pictures do not move")] = None
    moderation: Hint = None


@router.post("/images/generations")
async def draw(request: Request, body: Generation) -> dict[str, Any]:
    """Pictures in base64, each of another draw."""
    engine = engine_of(request, body.model)
    note(request, body)
    if body.output_format == "png" and body.output_compression != BEST:
        rule = "output_compression must be left out for png, which loses nothing"
        raise HTTPException(422, f"{rule}; got {body.output_compression}")
    how = {
        "seed": body.seed,
        "steps": body.steps,
        "guidance": body.guidance,
        "side": _side(body.size, engine.process.about.image_size),
        "form": body.output_format,
        "quality": body.output_compression,
    }
    pictures = await engine.do("draw", [body.prompt] * body.n, **how)
    data = [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures]
    return {
        "created": int(time.time()),
        "data": data,
        "output_format": body.output_format,
        "size": f"{how['side']}x{how['side']}",
    }


def _side(size: str, own: int) -> int:
    """Pixels of each side of a picture. Raises `HTTPException` 422 for what is no square."""
    if size == "auto":
        return own
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size, re.ASCII)
    least, most = SIDES
    if match and match[1] == match[2] and least <= int(match[1]) <= most:
        return int(match[1])
    rule = f"size must be auto or a square of {least} to {most} pixels a side, as {own}x{own}"
    raise HTTPException(422, f"{rule}; got {size[:20]!r}")
