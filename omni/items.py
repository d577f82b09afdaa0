"""What goes into a model and comes out: texts, pictures, sound, video; from files, to samples."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from omni.batch import Sample
from omni.modality.audio import to_int16
from omni.pipeline.decode import decode_audio, decode_image
from omni.pipeline.formats import IMAGES, SOUNDS
from omni.pipeline.video import CONTAINERS, decode_video

FILES = (*IMAGES, *SOUNDS, *CONTAINERS, "txt")
"""endings of what `read` can read"""


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound: float32 samples in -1 ... 1 and their rate in Hz."""

    samples: np.ndarray
    sample_rate: int

    def save(self, path: str | Path) -> None:
        """As WAV, FLAC or whatever the name's ending says."""
        import soundfile

        file, kind = io.BytesIO(), Path(path).suffix.removeprefix(".")
        soundfile.write(file, self.samples, self.sample_rate, format=kind)
        Path(path).write_bytes(file.getvalue())  # soundfile hardly tells of a full disk


@dataclass(frozen=True, eq=False)
class Video:
    """Pictures of one size in the order of time, at even distances, and the sound beside them."""

    frames: Sequence[Image.Image]
    audio: Audio | None = None


Item = str | Image.Image | Audio | Video | Sequence["str | Image.Image | Audio | Video"]
"""a text, a picture, a sound, a video, or a tuple of these: one query of several senses"""


def read(path: str | Path) -> str | Image.Image | Audio | Video:
    """A file as an item. Raises `ValueError` for an unknown ending or damaged contents."""
    path = Path(path)
    extension = path.suffix.lower().removeprefix(".")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if extension in FILES:
            return decode(extension, path.read_bytes())
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error
    raise ValueError(f"{path}: the ending must be one of {', '.join(FILES)}")


def decode(extension: str, data: bytes) -> str | Image.Image | Audio | Video:
    """The bytes of a file of one of the known endings. Raises what its decoder does."""
    if extension in IMAGES:
        return to_picture(decode_image(data))
    if extension in SOUNDS:
        return _audio(*decode_audio(data))
    if extension in CONTAINERS:
        pixels, samples, rate = decode_video(data, extension)
        frames = [to_picture(frame) for frame in pixels]
        return Video(frames, None if samples is None else _audio(samples, rate))
    return data.decode("utf-8").strip()


def to_picture(pixels: UInt8[Tensor, "3 H W"]) -> Image.Image:
    """Pixels as they are in a sample."""
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def read_argument(argument: str) -> str | Image.Image | Audio | Video:
    """What a word of a command line means: a file where it ends like one, and a text otherwise."""
    return read(argument) if is_file_name(argument) else argument


def is_file_name(name: str) -> bool:
    """Whether a name ends like a file that `read` knows."""
    return "." in name and name.rsplit(".", 1)[-1].lower() in FILES


def _audio(samples: Tensor, rate: int) -> Audio:
    return Audio(samples.numpy().astype(np.float32) / 32768, rate)


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def to_sample(item: Item, sample_rate: int) -> Sample:
    """An item as a sample of the loader. Raises `ValueError` for what is none.

    The picture of a video has one dimension more, of its frames.
    """
    found: dict[str, Any] = {}
    for value in item if isinstance(item, list | tuple) else (item,):
        for sense, content in _senses(value, sample_rate):
            if sense in found:
                raise ValueError(f"a query holds each sense once, got two of {sense}")
            found[sense] = content
    if not found:
        raise ValueError("a query must hold at least one sense, got none")
    return Sample(key="query", **found)


def num_frames(sample: Sample) -> int:
    """Of its video; 1 where it has a picture or none."""
    return 1 if sample.image is None or sample.image.ndim == 3 else len(sample.image)


def _senses(value: Any, sample_rate: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str):
        yield "text", value
    elif isinstance(value, Image.Image):
        yield "image", _pixels(value)
    elif isinstance(value, Audio):
        samples = torch.from_numpy(value.samples)
        yield "audio", to_int16(samples, value.sample_rate, sample_rate)
    elif isinstance(value, Video):
        if len({frame.size for frame in value.frames}) != 1:
            raise ValueError("a video must have frames, all of one size")
        yield "image", torch.stack([_pixels(frame) for frame in value.frames])
        if value.audio is not None:
            yield from _senses(value.audio, sample_rate)
    else:
        kind = type(value).__name__
        raise ValueError(f"an item must be str, PIL.Image, Audio or Video, got {kind}")
