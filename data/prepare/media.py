"""Media as a corpus has them to members of a shard: resized and resampled once, here.

What is read is what `omni.read` reads (`FORMATS`), by the same decoders. Pictures become JPEG,
sound becomes mono FLAC or 16-bit PCM. A JPEG that is small enough already, and not turned by its
EXIF tag, stays as it is: encoding it again would only lose.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import soundfile
import torch
from jaxtyping import Int16
from PIL import Image
from torch import Tensor

from omni.modality.audio import to_int16
from omni.pipeline.decode import check_rate, read_audio, read_image
from omni.pipeline.formats import MAX_AUDIO_VALUES, MAX_MEMBER_BYTES, endings
from omni.pipeline.video import find_demuxer

SLOTS = dict.fromkeys(endings("image"), "image") | dict.fromkeys(endings("audio"), "audio")
SLOTS |= {"txt": "text", "text": "text", "caption": "text", "transcript": "text", "json": "json"}
SLOTS |= {"cls": "class"}
"""the part of a sample that a file is, by the end of its name; a class is one word for the meta"""


@dataclass(frozen=True)
class Form:
    """What media become.

    Attributes:
        size: pixels of the short side at most; pictures are never enlarged.
        quality: of JPEG, 1 to 100.
        audio: "flac" or "wav".
        sample_rate: Hz.
        keep_originals: bytes that a shard may hold stay as they are, once they are known to decode.
    """

    size: int = 256
    quality: int = 90
    audio: str = "flac"
    sample_rate: int = 16_000
    keep_originals: bool = False


def is_empty(source: Path | bytes) -> bool:
    """Whether there are no bytes: what is then not there at all. A missing file is not empty."""
    if isinstance(source, bytes):
        return not source
    return source.is_file() and source.stat().st_size == 0


def read(source: Path | bytes) -> bytes:
    """The bytes of a file. Raises `ValueError` where there are none, or too many."""
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if not 0 < size <= MAX_MEMBER_BYTES:
            raise ValueError(f"it has {size} bytes, allowed are 1 to {MAX_MEMBER_BYTES}")
        return source if isinstance(source, bytes) else source.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"no such file: {str(source)!r}") from error
    except (IsADirectoryError, PermissionError) as error:
        raise ValueError(f"{error.strerror}: {str(source)!r}") from error


def encode_image(data: bytes, form: Form) -> tuple[str, bytes]:
    """Extension and bytes of a picture. Raises `ValueError` for one that cannot be decoded."""
    kind, pixels = _image_kind(data), read_image(data)
    height, width = pixels.shape[1:]
    scale = form.size / min(height, width)
    upright = kind == "jpg" and b"Exif\0\0" not in data[:65_536]
    if kind and (form.keep_originals or (upright and scale >= 1)):
        return kind, data
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    if form.keep_originals:  # of a format that a shard has no place for
        Image.fromarray(array).save(png := io.BytesIO(), "PNG")
        return "png", png.getvalue()
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        array = np.array(Image.fromarray(array).resize(size, Image.Resampling.BICUBIC))
    return "jpg", simplejpeg.encode_jpeg(array, form.quality, "RGB", "420")


def _image_kind(data: bytes) -> str:
    """The extension by what the bytes begin with; empty for what a shard has no place for."""
    if data[:2] == b"\xff\xd8":
        return "jpg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def encode_audio(
    source: Path | bytes, start: float | None, stop: float | None, form: Form
) -> tuple[str, bytes]:
    """Extension and bytes of a recording, or of the seconds from `start` to `stop` of it.

    Raises `ValueError` for one that cannot be decoded.
    """
    if start is None and stop is None:
        data = read(source)
        samples, rate = read_audio(data)
        kind = _sound_kind(data)
        if form.keep_originals and kind:
            return kind, data
        if rate != form.sample_rate:
            samples = to_int16(samples.float() / 32768, rate, form.sample_rate)
    else:  # what is cut is written anew in any case
        samples = _cut(source, start, stop, form.sample_rate)
    file = io.BytesIO()
    soundfile.write(file, samples.numpy(), form.sample_rate, "PCM_16", format=form.audio.upper())
    return form.audio, file.getvalue()


def _sound_kind(data: bytes) -> str:
    """The extension by what the bytes begin with; empty for what a shard has no place for."""
    if find_demuxer(data):
        return ""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"fLaC":
        return "flac"
    if data[:4] == b"OggS":
        return "opus" if b"OpusHead" in data[:64] else "ogg"
    is_mp3 = data[:3] == b"ID3" or (data[0] == 0xFF and data[1:2] >= b"\xe0")
    return "mp3" if is_mp3 else ""


def _cut(
    source: Path | bytes, start: float | None, stop: float | None, target: int
) -> Int16[Tensor, "S"]:
    """Mono samples of a part of a recording, of which no more than that part is read.

    What only FFmpeg reads is decoded whole before it is cut.
    """
    if find_demuxer(_beginning(source)):
        samples, rate = read_audio(read(source))
        first, last = _span(start, stop, len(samples), rate)
        return to_int16(samples[first:last].float() / 32768, rate, target)
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as f:
            check_rate(rate := f.samplerate)
            first, last = _span(start, stop, f.frames, rate)
            if (last - first) * f.channels > MAX_AUDIO_VALUES:
                raise ValueError(f"{last - first} samples, allowed are {MAX_AUDIO_VALUES} values")
            f.seek(first)
            values = f.read(last - first, "float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        missing = isinstance(source, Path) and not source.is_file()
        reason = f"no such file: {str(source)!r}" if missing else error.error_string
        raise ValueError(f"no recording that can be read: {reason}") from error
    if len(values) < last - first:
        raise ValueError(f"truncated: {last - first} samples claimed, {len(values)} there")
    return to_int16(torch.from_numpy(values.mean(1)), rate, target)


def _span(start: float | None, stop: float | None, frames: int, rate: int) -> tuple[int, int]:
    """The first sample of a part and the one after its last. Raises `ValueError` for none."""
    first = round((start or 0) * rate)
    last = frames if stop is None else min(round(stop * rate), frames)
    if not 0 <= first < last:
        seconds = f"{start} to {stop} of {frames / rate:.2f}"
        raise ValueError(f"there is nothing to cut from seconds {seconds}")
    return first, last


def _beginning(source: Path | bytes) -> bytes:
    """The first bytes of a file; none where it is not there."""
    if isinstance(source, bytes):
        return source[:16]
    if not source.is_file():
        return b""
    with source.open("rb") as file:
        return file.read(16)
