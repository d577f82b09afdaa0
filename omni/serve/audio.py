"""POST /v1/audio/speech and /v1/audio/transcriptions: text to speech, and back."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import ConfigDict, Field
from starlette.formparsers import MultiPartParser

from omni.serve import subtitles
from omni.serve.body import JSONRoute, Name, OpenRoute, Text, decode
from omni.serve.engine import Engine, engine_of
from omni.serve.fields import HINT, Compatible, Hint, Only, note
from omni.serve.settings import MAX_BODY

router = APIRouter(prefix="/v1/audio", tags=["OpenAI"], route_class=JSONRoute)
forms = APIRouter(prefix="/v1/audio", tags=["OpenAI"], route_class=OpenRoute)
MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
}
NO_SPEAKERS = "these models tell no speakers apart"

# What the gate has let in is in memory already, and no part of it goes to a disk.
MultiPartParser.spool_max_size = MAX_BODY


class Speech(Compatible):
    """As OpenAI's; there is one voice, whatever it is called, and it takes no instructions."""

    input: Annotated[Text, Field(max_length=4096)]
    model: Name | None = None
    response_format: Literal["wav", "flac", "mp3", "opus", "pcm"] = "wav"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    voice: Hint = None
    speed: Annotated[Any, Only(1, why="these models speak at one speed")] = None
    instructions: Annotated[Any, Only("", why="these models speak in one manner")] = None
    stream_format: Annotated[Any, Only("audio", why="speech comes whole")] = None


class Transcription(Compatible):
    """As OpenAI's, in a form."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile
    model: Name | None = None
    language: Annotated[str, Field(max_length=16)] = "en"
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] = "json"
    stream: bool = False
    granularities: Annotated[
        list[Literal["segment"]],
        Field(alias="timestamp_granularities[]", default_factory=list, max_length=2),
    ]

    include: Annotated[
        list[str],
        Only([], why="these models do not tell the probabilities of tokens"),
        Field(alias="include[]", default_factory=list),
    ]
    speakers: Annotated[
        list[str],
        Only([], why=NO_SPEAKERS),
        Field(alias="known_speaker_names[]", default_factory=list),
    ]
    voices: Annotated[
        list[str],
        Only([], why=NO_SPEAKERS),
        Field(alias="known_speaker_references[]", default_factory=list),
    ]
    chunking_strategy: Annotated[
        Any, Only("auto", why="recordings are cut where they are quiet")
    ] = None
    prompt: Hint = None
    temperature: Annotated[float | None, Field(ge=0, le=1), HINT] = None


@router.post("/speech", response_class=Response)
async def speak(request: Request, body: Speech) -> Response:
    """Speech that says the text."""
    engine = engine_of(request, body.model)
    note(request, body)
    (sound,) = await engine.do("speak", [body.input], kind=body.response_format, seed=body.seed)
    return Response(sound, media_type=MEDIA_TYPES[body.response_format])


@forms.post("/transcriptions", response_model=None)
async def transcribe(
    request: Request, form: Annotated[Transcription, Form()]
) -> Response | dict[str, Any]:
    """What a recording says."""
    engine = engine_of(request, form.model)
    if form.stream and form.response_format != "json":
        rule = "response_format must be json where stream is true"
        raise HTTPException(422, f"{rule}, got {form.response_format}")
    if form.granularities and form.response_format != "verbose_json":
        rule = "response_format must be verbose_json for timestamp_granularities"
        raise HTTPException(422, f"{rule}, got {form.response_format}")
    note(request, form)
    sound = await decode(request, "audio", await form.file.read(), engine)
    if form.response_format in ("verbose_json", "srt", "vtt"):
        return await _timed(form, engine, sound)
    (written,) = await engine.do("write", [(sound, None)], language=form.language)
    if form.response_format == "text":
        return PlainTextResponse(written.text)
    if form.stream:
        return StreamingResponse(_events(written.text), media_type="text/event-stream")
    return {"text": written.text}


async def _timed(form: Transcription, engine: Engine, sound: Any) -> Response | dict[str, Any]:
    """What each part of a recording says: it is written down in pieces, cut where it is quiet."""
    (segments,) = await engine.do("segments", [sound], language=form.language)
    if form.response_format == "srt":
        return PlainTextResponse(subtitles.srt(segments))
    if form.response_format == "vtt":
        return PlainTextResponse(subtitles.vtt(segments), media_type="text/vtt")
    return {
        "task": "transcribe",
        "language": form.language,
        "duration": len(sound.samples) / sound.sample_rate,
        "text": " ".join(segment.text for segment in segments),
        "segments": [
            {"id": i, "start": segment.start, "end": segment.end, "text": segment.text}
            for i, segment in enumerate(segments)
        ],
    }


async def _events(text: str) -> AsyncIterator[str]:
    """Server-sent events: the text is written whole, by beams, and so it comes in one."""
    for event in (
        {"type": "transcript.text.delta", "delta": text},
        {"type": "transcript.text.done", "text": text},
    ):
        yield f"data: {json.dumps(event)}\n\n"
