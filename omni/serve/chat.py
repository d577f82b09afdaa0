"""POST /v1/chat/completions: what a model writes of a picture, a recording and a question."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, TypeAdapter, ValidationError

from omni.pipeline.data_url import decode_base64, decode_url
from omni.serve.body import Body, JSONRoute, MaybeText, Name, as_one, bytes_of, decode
from omni.serve.engine import Engine, engine_of
from omni.serve.fields import HINT, Compatible, Hint, Only, note
from omni.serve.model import Written

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["OpenAI"])
NO_TOOLS = "these models call no tools"
NO_LOGPROBS = "these models do not tell the probabilities of tokens"
ONE_ANSWER = "these models have one answer, the likeliest"
SAYS_TEXT = "chat answers in text (POST /v1/audio/speech speaks)"


class TextPart(Body):
    """A text, which may be empty."""

    type: Literal["text"]
    text: MaybeText
    prompt_cache_breakpoint: Any = None


class Picture(Body):
    """A data URL."""

    url: str
    detail: Any = None


class PicturePart(Body):
    """A picture."""

    type: Literal["image_url"]
    image_url: Picture
    prompt_cache_breakpoint: Any = None


class Sound(Body):
    """A recording in base64; its format is seen from how it begins."""

    data: str
    format: Any = None


class SoundPart(Body):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: Sound
    prompt_cache_breakpoint: Any = None


Part = Annotated[TextPart | PicturePart | SoundPart, Field(discriminator="type")]
Content = MaybeText | Annotated[list[Part], Field(max_length=16)] | None
CONTENT: TypeAdapter[str | list[TextPart | PicturePart | SoundPart] | None] = TypeAdapter(Content)


class Message(Body):
    """A turn. What it holds is looked at in the last one alone, which is answered."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: Any = None
    refusal: Any = None
    audio: Any = None
    annotations: Any = None
    tool_calls: Any = None
    tool_call_id: Any = None
    function_call: Any = None
    reasoning_content: Any = None


class StreamOptions(Body):
    """Of a stream; `include_usage` asks for one chunk more."""

    include_usage: bool = False
    include_obfuscation: Any = None


class Chat(Compatible):
    """As OpenAI's; these models have no memory of turns: the last one, the user's, is answered."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    model: Name | None = None
    language: Annotated[str, Field(max_length=16)] = "en"
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None

    n: Annotated[Any, Only(1, why=ONE_ANSWER)] = None
    response_format: Annotated[
        Any, Only({"type": "text"}, why="these models write plain text, no JSON")
    ] = None
    modalities: Annotated[Any, Only(["text"], why=SAYS_TEXT)] = None
    audio: Annotated[Any, Only(why=SAYS_TEXT)] = None
    logprobs: Annotated[Any, Only(False, why=NO_LOGPROBS)] = None
    top_logprobs: Annotated[Any, Only(0, why=NO_LOGPROBS)] = None
    logit_bias: Annotated[Any, Only({}, why="these models have tokens of their own")] = None
    tools: Annotated[Any, Only([], why=NO_TOOLS)] = None
    tool_choice: Annotated[Any, Only("none", "auto", why=NO_TOOLS)] = None
    parallel_tool_calls: Annotated[Any, Only(False, True, why=NO_TOOLS)] = None
    functions: Annotated[Any, Only([], why=NO_TOOLS)] = None
    function_call: Annotated[Any, Only("none", "auto", why=NO_TOOLS)] = None
    web_search_options: Annotated[Any, Only(why="these models look nothing up")] = None
    moderation: Annotated[Any, Only(why="these models judge nothing")] = None
    verbosity: Annotated[Any, Only("low", "medium", why="these models answer in a few words")] = (
        None
    )

    # The answer is the likeliest one, found by beam search: as at a temperature of 0.
    temperature: Annotated[float | None, Field(ge=0, le=2), HINT] = None
    top_p: Annotated[float | None, Field(ge=0, le=1), HINT] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2), HINT] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2), HINT] = None
    seed: Annotated[int | None, HINT] = None
    reasoning_effort: Hint = None
    prediction: Hint = None
    prompt_cache_key: Hint = None
    prompt_cache_options: Hint = None
    prompt_cache_retention: Hint = None


@router.post("/chat/completions", response_model=None)
async def chat(request: Request, body: Chat) -> Response | dict[str, Any]:
    """A caption, a transcript, or the answer to the question that comes with a picture or sound."""
    engine = engine_of(request, body.model)
    if body.stream_options is not None and not body.stream:
        raise HTTPException(422, "stream_options must be left out where stream is false")
    item = await _item(request, body.messages, engine)
    note(request, body, *(["earlier messages"] if len(body.messages) > 1 else []))
    most = [limit for limit in (body.max_tokens, body.max_completion_tokens) if limit is not None]
    (written,) = await engine.do("write", [(item, min(most, default=None))], language=body.language)
    text, reason = _end(written, body.stop)
    about = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": engine.name,
    }
    count = written.num_tokens
    usage = {"prompt_tokens": 0, "completion_tokens": count, "total_tokens": count}
    if body.stream:
        told = body.stream_options is not None and body.stream_options.include_usage
        events = _stream(about, text, reason, usage if told else None)
        return StreamingResponse(events, media_type="text/event-stream")
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return about | {"object": "chat.completion", "choices": [choice], "usage": usage}


def _end(written: Written, stop: str | list[str] | None) -> tuple[str, str]:
    """The text up to the first word at which it is to stop, and why it ends there."""
    words = [stop] if isinstance(stop, str) else stop or []
    places = [written.text.find(word) for word in words if word]
    found = [place for place in places if place >= 0]
    if found:
        return written.text[: min(found)], "stop"
    return written.text, "length" if written.is_cut else "stop"


async def _item(request: Request, messages: list[Message], engine: Engine) -> Any:
    """One item of all that the last message holds, of each sense once."""
    last = messages[-1]
    if last.role != "user":
        raise HTTPException(422, f"the last message must be the user's, it is {last.role}'s")
    try:
        content = CONTENT.validate_python(last.content)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(422, f"the last message: {first['msg']}") from error
    found: dict[str, Any] = {}
    for part in [content] if isinstance(content, str) else content or []:
        text = part.text if isinstance(part, TextPart) else part
        if isinstance(text, str):
            words = (found.get("text"), text)
            found["text"] = " ".join(word for word in words if word and word.strip())
            continue
        sense = "image" if isinstance(part, PicturePart) else "audio"
        if sense in found:
            raise HTTPException(422, f"a message must hold one {sense} at most")
        if isinstance(part, PicturePart):
            data = bytes_of(decode_url, part.image_url.url, "image_url.url")
        elif isinstance(part, SoundPart):
            data = bytes_of(decode_base64, part.input_audio.data, "input_audio.data")
        found[sense] = await decode(request, sense, data, engine)
    if not found.get("text"):
        found.pop("text", None)
    if not found:
        raise HTTPException(422, "the last message must hold a text, a picture or a recording")
    return as_one(found)


async def _stream(
    about: dict[str, Any], text: str, reason: str, usage: dict[str, int] | None
) -> AsyncIterator[str]:
    """Server-sent events: the text is written whole, by beams, and so it comes in one.

    Where `usage` is asked for it comes last, and the events before it have none.
    """
    about = about | {"object": "chat.completion.chunk"}
    for delta, end in (({"role": "assistant", "content": text}, None), ({}, reason)):
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        nothing = {} if usage is None else {"usage": None}
        yield f"data: {json.dumps(about | {'choices': [choice]} | nothing)}\n\n"
    if usage is not None:
        yield f"data: {json.dumps(about | {'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"
