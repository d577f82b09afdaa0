"""POST /v1/audio/speech and /v1/audio/transcriptions: text to speech, and back."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse
from pydantic import Field
from starlette.formparsers import MultiPartParser

from omni.serve.body import Ignored, JSONRoute, Name, Text, decode
from omni.serve.engine import engine_of
from omni.serve.settings import MAX_BODY

router = APIRouter(prefix="/v1/audio", tags=["OpenAI"], route_class=JSONRoute)
forms = APIRouter(prefix="/v1/audio", tags=["OpenAI"])
FIELDS = {"file", "model", "language", "response_format", "prompt", "temperature", "stream"}
"""of a form; the last three say nothing to these models"""

# What the gate has let in is in memory already, and no part of it goes to a disk.
MultiPartParser.spool_max_size = MAX_BODY


class Speech(Ignored):
    """As OpenAI's, for WAV and FLAC; the model has no voices and no instructions to choose."""

    input: Annotated[Text, Field(max_length=4096)]
    model: Name | None = None
    response_format: Literal["wav", "flac"] = "wav"
    speed: Annotated[float, Field(ge=1, le=1)] = 1
    stream_format: Literal["audio"] = "audio"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    voice: Any = None
    instructions: Any = None


@router.post("/speech", response_class=Response)
async def speak(request: Request, body: Speech) -> Response:
    """Speech that says the text."""
    engine = engine_of(request, body.model)
    (sound,) = await engine.do("speak", [body.input], kind=body.response_format, seed=body.seed)
    return Response(sound, media_type=f"audio/{body.response_format}")


@forms.post("/transcriptions", response_model=None)
async def transcribe(
    request: Request,
    file: Annotated[UploadFile, File()],
    model: Annotated[Name | None, Form()] = None,
    language: Annotated[str, Form(max_length=16)] = "en",
    response_format: Annotated[Literal["json", "text"], Form()] = "json",
) -> Response | dict[str, str]:
    """What a recording says."""
    if unknown := sorted((await request.form()).keys() - FIELDS):
        raise HTTPException(422, f"unknown fields: {', '.join(unknown)}")
    engine = engine_of(request, model)
    sound = await decode(request, "audio", await file.read(), engine)
    (text,) = await engine.do("write", [sound], language=language)
    return PlainTextResponse(text) if response_format == "text" else {"text": text}
