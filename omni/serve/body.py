"""What a request holds: strict JSON, texts, pictures and recordings as bytes, never by address."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import from_json

from omni.pipeline.data_url import decode_url
from omni.serve.engine import Engine
from omni.serve.settings import MAX_TEXT

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]*$")]
MaybeText = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
"""beside media a text may be empty, which is none"""
IGNORED = "X-Ignored-Fields"
"""header of an answer: fields of the request that made no difference"""


class Body(BaseModel):
    """A JSON object without fields that nobody knows, and with finite numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Item(Body):
    """A text, a picture and a recording, of which there is one at least; media as data URLs."""

    text: MaybeText | None = None
    image: str | None = None
    audio: str | None = None


class _StrictRequest(Request):
    """Of which the body is JSON as it is written: no NaN, no half surrogates, not too deep."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body must be JSON: {error}") from error


class OpenRoute(APIRoute):
    """A route that says which fields of a request made no difference (`fields.note`)."""

    def get_route_handler(self) -> Callable:
        """As of FastAPI, with one header more."""
        handle = super().get_route_handler()

        async def openly(request: Request) -> Response:
            response = await handle(request)
            if names := getattr(request.state, "ignored", None):
                response.headers[IGNORED] = ", ".join(names)
            return response

        return openly


class JSONRoute(OpenRoute):
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
    found: dict[str, Any] = {"text": item.text} if item.text and item.text.strip() else {}
    for sense in ("image", "audio"):
        if (url := getattr(item, sense)) is not None:
            data = bytes_of(decode_url, url, sense)
            found[sense] = await decode(request, sense, data, engine)
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


def bytes_of(decode: Callable[[str], bytes], text: str, name: str) -> bytes:
    """What a data URL or base64 holds. Raises `HTTPException` 422, which names the field."""
    try:
        return decode(text)
    except ValueError as error:
        raise HTTPException(422, f"{name} {error}") from error
