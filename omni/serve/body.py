"""What a request holds: strict JSON, texts, pictures and recordings as bytes, never by address."""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import from_json

from omni.serve.engine import Engine
from omni.serve.settings import MAX_TEXT

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]*$")]
TYPES = {
    "image": ("image/png", "image/jpeg", "image/webp"),
    "audio": (
        "audio/wav", "audio/x-wav", "audio/wave", "audio/flac", "audio/ogg", "audio/opus",
        "audio/mpeg", "audio/mp3",
    ),
}  # fmt: skip
"""media types of data URIs; what the bytes are is seen from how they begin"""


class Body(BaseModel):
    """A JSON object without fields that nobody knows, and with finite numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Ignored(Body):
    """Fields that OpenAI's clients may send, and that say nothing to these models."""

    user: Any = None
    metadata: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None


class Item(Body):
    """A text, a picture and a recording, of which there is one at least; media as data URIs."""

    text: Text | None = None
    image: str | None = None
    audio: str | None = None


class _StrictRequest(Request):
    """Of which the body is JSON as it is written: no NaN, no half surrogates, not too deep."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body must be JSON: {error}") from error


class JSONRoute(APIRoute):
    """A route whose bodies are strict JSON."""

    def get_route_handler(self) -> Callable:
        """As of FastAPI, with another request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
            if self.body_field is not None and kind != "application/json":
                raise HTTPException(415, f"the body must be application/json, got {kind[:80]!r}")
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


async def contents(request: Request, item: Item, engine: Engine) -> dict[str, Any]:
    """What an item holds, by sense. Raises `HTTPException` 422 for what cannot be decoded."""
    found: dict[str, Any] = {} if item.text is None else {"text": item.text}
    for sense in ("image", "audio"):
        if (uri := getattr(item, sense)) is not None:
            found[sense] = await decode(request, sense, data_of(uri, sense), engine)
    if not found:
        raise HTTPException(422, "an item must hold a text, an image or audio")
    return found


async def query(request: Request, item: Item, engine: Engine) -> Any:
    """The same as one item of all its senses."""
    return as_one(await contents(request, item, engine))


def as_one(found: dict[str, Any]) -> Any:
    """One item of several senses."""
    values = tuple(found.values())
    return values[0] if len(values) == 1 else values


async def decode(request: Request, sense: str, data: bytes, engine: Engine) -> Any:
    """A picture or a recording. Raises `HTTPException` 422."""
    about = engine.process.about
    size = about.image_size if sense == "image" else about.sample_rate
    try:
        item = await request.app.state.decoders.decode(sense, data, size)
    except ValueError as error:
        raise HTTPException(422, f"{sense}: {error}") from error
    request.state.held.take(3 * size**2 if sense == "image" else item.samples.nbytes)
    return item


def data_of(uri: str, sense: str) -> bytes:
    """The bytes of a data URI. Raises `HTTPException` 422: no other address is ever followed."""
    head, comma, data = uri.partition(",")
    kinds = TYPES[sense]
    if not comma or head not in [f"data:{kind};base64" for kind in kinds]:
        rule = f"{sense} must be data:{kinds[0]};base64,... (or {', '.join(kinds[1:])})"
        raise HTTPException(422, rule)
    return base64_of(data, sense)


def base64_of(data: str, sense: str) -> bytes:
    """What base64 stands for. Raises `HTTPException` 422."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, f"{sense} must be base64: {error}") from error
