"""POST /v1/chat/completions: what a model writes of a picture, a recording and a question."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from omni.serve.body import Body, Ignored, JSONRoute, Name, Text, as_one, base64_of, data_of, decode
from omni.serve.engine import Engine, engine_of

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["OpenAI"])


class TextPart(Body):
    """A text."""

    type: Literal["text"]
    text: Text


class Picture(Body):
    """A data URI."""

    url: str
    detail: Any = None


class PicturePart(Body):
    """A picture."""

    type: Literal["image_url"]
    image_url: Picture


class Sound(Body):
    """A recording in base64."""

    data: str
    format: Literal["wav", "flac", "mp3", "ogg", "opus"]


class SoundPart(Body):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: Sound


Part = Annotated[TextPart | PicturePart | SoundPart, Field(discriminator="type")]


class Message(Body):
    """A turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(min_length=1, max_length=16)]
    name: Any = None


class Chat(Ignored):
    """As OpenAI's; these models have no memory of turns: the last one, the user's, is answered."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=128)]
    model: Name | None = None
    stream: bool = False
    n: Literal[1] = 1
    language: Annotated[str, Field(max_length=16)] = "en"
    frequency_penalty: Any = None
    max_completion_tokens: Any = None
    max_tokens: Any = None
    presence_penalty: Any = None
    seed: Any = None
    stop: Any = None
    stream_options: Any = None
    temperature: Any = None
    top_p: Any = None


@router.post("/chat/completions", response_model=None)
async def chat(request: Request, body: Chat) -> Response | dict[str, Any]:
    """A caption, a transcript, or the answer to the question that comes with a picture or sound."""
    engine = engine_of(request, body.model)
    last = body.messages[-1]
    if last.role != "user":
        raise HTTPException(422, f"the last message must be the user's, it is {last.role}'s")
    item = await _item(request, last, engine)
    (text,) = await engine.do("write", [item], language=body.language)
    about = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": engine.name,
    }
    if body.stream:
        return StreamingResponse(_stream(about, text), media_type="text/event-stream")
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return about | {"object": "chat.completion", "choices": [choice], "usage": usage}


async def _item(request: Request, message: Message, engine: Engine) -> Any:
    """One item of all that a message holds, of each sense once."""
    if isinstance(message.content, str):
        return message.content
    found: dict[str, Any] = {}
    for part in message.content:
        if isinstance(part, TextPart):
            found["text"] = " ".join(filter(None, (found.get("text"), part.text)))
            continue
        sense = "image" if isinstance(part, PicturePart) else "audio"
        if sense in found:
            raise HTTPException(422, f"a message must hold one {sense} at most")
        if isinstance(part, PicturePart):
            data = data_of(part.image_url.url, sense)
        else:
            data = base64_of(part.input_audio.data, sense)
        found[sense] = await decode(request, sense, data, engine)
    return as_one(found)


async def _stream(about: dict[str, Any], text: str) -> AsyncIterator[str]:
    """Server-sent events: the text is written whole, by beams, and so it comes in one."""
    for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = about | {"object": "chat.completion.chunk", "choices": [choice]}
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"
