"""Bytes to uint8 pixels, int16 samples and strings, by a closed table of types.

Nothing that a shard holds is ever executed. What the bytes begin with decides how they are read
(a PNG named .jpg is a PNG), sizes are read from the header and checked before anything is
allocated, and whatever is wrong is a `ValueError`. A limit keeps decoding under 256 MB.

Documented choices, for pictures: transparency is laid on white; a picture is turned as its EXIF
tag says, and not where the tag cannot be read; of an animation the first frame counts; 16 bits a
channel are scaled to 8. For sound: channels are averaged; more than 16 bits a sample are scaled
to 16; floats a little beyond full scale are clipped, those far beyond it and those that are no
numbers refused; a WAV whose size says that it was streamed reaches to the end of the member, any
other that claims more than is there is refused, and so is a FLAC that does not tell its length;
an MP3 without a header of its own has the frames that are found. For text: a byte order mark is
passed over; a field of a json member that is null or blank holds no text.
"""

import json
import math
from typing import Any

from omni.modality.text import clean_text
from omni.pipeline.formats import MAX_TEXT_BYTES
from omni.pipeline.picture import decode_image, image_size, read_image, to_pixels
from omni.pipeline.sound import audio_info, check_rate, decode_audio, read_audio

__all__ = [
    "answers_of",
    "audio_info",
    "check_rate",
    "decode_audio",
    "decode_image",
    "decode_json",
    "decode_text",
    "image_size",
    "read_audio",
    "read_image",
    "texts_of",
    "to_pixels",
]

TEXT_FIELDS = ("text", "caption", "captions", "transcript", "transcription")
"""fields of a json member that hold the text, where there is no txt member"""
ANSWER_FIELDS = ("answer", "answers")


def decode_text(data: bytes | bytearray) -> str:
    """Return UTF-8 as `clean_text` has it."""
    if text := _check_text(_decode_utf8(data, "text")):
        return text
    raise ValueError("text is empty")


def decode_json(data: bytes | bytearray) -> dict[str, Any]:
    """An object, whose texts are as `texts_of` wants them."""
    text = _decode_utf8(data, "json")
    try:
        meta = json.loads(
            text, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique
        )
    except RecursionError as error:
        raise ValueError("json is nested too deeply") from error
    if not isinstance(meta, dict):
        raise ValueError(f"json must be an object, got {type(meta).__name__}")
    texts_of(meta)
    answers_of(meta)
    return meta


def _decode_utf8(data: bytes | bytearray, kind: str) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"{kind} has {len(data)} bytes, allowed are {MAX_TEXT_BYTES}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{kind} must be UTF-8: {error.reason} at {error.start}") from error


def _check_text(text: str) -> str:
    """Return a text cleaned. Raises `ValueError` for what cannot be written as text."""
    if "\0" in text:
        raise ValueError("text holds a zero byte")
    text.encode()  # a ValueError for half of a surrogate pair, which json can hold
    return clean_text(text)


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"numbers of a json must be finite, got {number}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    meta = dict(pairs)
    if len(meta) < len(pairs):
        raise ValueError(f"fields of a json must differ, {len(pairs)} have {len(meta)} names")
    return meta


def texts_of(meta: dict[str, Any]) -> dict[str, list[str]]:
    """The texts that a json member holds, by language: those of `names`, then of `TEXT_FIELDS`.

    Raises `ValueError` for a text or a language that is no string.
    """
    names, language = meta.get("names"), meta.get("language") or "en"
    if not isinstance(language, str):
        raise ValueError(f"json field 'language' must be a string, got {language!r}")
    found: dict[str, list[str]] = {}
    for key, value in names.items() if isinstance(names, dict) else ():
        if texts := _texts("names", value):
            found[key] = texts
    for field in meta.keys() & TEXT_FIELDS and TEXT_FIELDS:  # most have none
        if texts := _texts(field, meta.get(field)):
            found.setdefault(language, []).extend(texts)
    return found


def answers_of(meta: dict[str, Any]) -> list[str]:
    """The answers that a json member holds to the question that the text is. As `texts_of`."""
    return [text for field in ANSWER_FIELDS for text in _texts(field, meta.get(field))]


def _texts(field: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    for text in values:
        if not isinstance(text, str | None):
            kind = type(text).__name__
            raise ValueError(f"json field {field!r} must be a string or several, got {kind}")
    return [text for value in values if (text := _check_text(value or ""))]
