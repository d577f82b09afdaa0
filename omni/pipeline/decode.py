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
import re
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
    "plain",
    "read_audio",
    "read_image",
    "texts_of",
    "to_pixels",
]

TEXT_FIELDS = ("text", "caption", "captions", "transcript", "transcription")
"""fields of a json member that hold the text, where there is no txt member"""
ANSWER_FIELDS = ("answer", "answers")
LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
"""a tag as of BCP 47: en, zh-Hant, pt_BR"""


def decode_text(data: bytes | bytearray) -> str:
    """Return UTF-8 as `clean_text` has it; empty where there is nothing but white space."""
    return _check_text(_decode_utf8(data, "text"))


def decode_json(data: bytes | bytearray) -> dict[str, Any]:
    """An object, whose texts are as `texts_of` wants them.

    A number that is not finite, as Python and pandas write NaN, is None, unless it stands where a
    text should: that is an error.
    """
    text = _decode_utf8(data, "json")
    odd: list[float] = []

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            odd.append(value)
        return value

    try:
        meta = json.loads(
            text, parse_float=number, parse_constant=number, object_pairs_hook=_unique
        )
        strict = plain(meta) if odd else meta
    except RecursionError as error:
        raise ValueError("json is nested too deeply") from error
    if not isinstance(meta, dict):
        raise ValueError(f"json must be an object, got {type(meta).__name__}")
    texts_of(meta)
    answers_of(meta)
    return strict


def plain(value: Any) -> Any:
    """Return a value as strict JSON has it: None in place of a number that is not finite."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    meta = dict(pairs)
    if len(meta) < len(pairs):
        raise ValueError(f"fields of a json must differ, {len(pairs)} have {len(meta)} names")
    return meta


def texts_of(meta: dict[str, Any]) -> dict[str, list[str]]:
    """The texts that a json member holds, by language: those of `names`, then of `TEXT_FIELDS`.

    A field of `TEXT_FIELDS` holds a text, several, or an object of these by language; a number is
    the text that it is written as. Raises `ValueError` for anything else, and for a language that
    is no string.
    """
    names, language = meta.get("names"), meta.get("language") or "en"
    if not isinstance(language, str):
        raise ValueError(f"field 'language' must be a string, got {language!r}")
    found: dict[str, list[str]] = {}
    for key, value in names.items() if isinstance(names, dict) else ():
        if texts := _texts("names", value):
            found[key] = texts
    for field in meta.keys() & TEXT_FIELDS and TEXT_FIELDS:  # most have none
        value = meta.get(field)
        spoken = _by_language(field, value) if isinstance(value, dict) else {language: value}
        for key, value in spoken.items():
            if texts := _texts(field, value):
                found.setdefault(key, []).extend(texts)
    return found


def _by_language(field: str, texts: dict[str, Any]) -> dict[str, Any]:
    """The same object. Raises `ValueError` where its names are no languages, as of a record."""
    for key in texts:
        if not LANGUAGE.fullmatch(key):
            raise ValueError(
                f"field {field!r} must be a string, several, or texts by language as "
                f'{{"en": ...}}; {key!r} is no language'
            )
    return texts


def answers_of(meta: dict[str, Any]) -> list[str]:
    """The answers that a json member holds to the question that the text is. As `texts_of`."""
    return [text for field in ANSWER_FIELDS for text in _texts(field, meta.get(field))]


def _texts(field: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for value in values if (text := _check_text(_written(field, value)))]


def _written(field: str, value: Any) -> str:
    """A text as a string, empty for None."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        what = value if number else type(value).__name__
        raise ValueError(f"field {field!r} must be a string or several, got {what}")
    return str(value)
