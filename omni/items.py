"""What goes into a model and comes out of it: texts, pictures and sound; from files, to samples."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from omni.batch import Sample
from omni.modality.audio import to_int16
from omni.pipeline.decode import decode_audio, decode_image
from omni.pipeline.formats import IMAGES, SOUNDS


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


Item = str | Image.Image | Audio | Sequence["str | Image.Image | Audio"]
"""a text, a picture, a sound, or a tuple of these: one query of several senses"""


def read(path: str | Path) -> str | Image.Image | Audio:
    """A file as an item. Raises `ValueError` for an unknown ending or damaged contents."""
    path = Path(path)
    extension = path.suffix.lower().removeprefix(".")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if extension in IMAGES:
            return Image.fromarray(decode_image(path.read_bytes()).permute(1, 2, 0).numpy())
        if extension in SOUNDS:
            samples, rate = decode_audio(path.read_bytes())
            return Audio(samples.numpy().astype(np.float32) / 32768, rate)
        if extension == "txt":
            return path.read_text(encoding="utf-8").strip()
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error
    known = ", ".join((*IMAGES, *SOUNDS, "txt"))
    raise ValueError(f"{path}: the ending must be one of {known}")


def to_sample(item: Item, sample_rate: int) -> Sample:
    """An item as a sample of the loader. Raises `ValueError` for what is none."""
    found: dict[str, Any] = {}
    for value in item if isinstance(item, list | tuple) else (item,):
        if isinstance(value, str):
            sense, content = "text", value
        elif isinstance(value, Image.Image):
            pixels = np.array(value.convert("RGB"))
            sense, content = "image", torch.from_numpy(pixels).permute(2, 0, 1)
        elif isinstance(value, Audio):
            sense, samples = "audio", torch.from_numpy(value.samples)
            content = to_int16(samples, value.sample_rate, sample_rate)
        else:
            raise ValueError(f"an item must be str, PIL.Image or Audio, got {type(value).__name__}")
        if sense in found:
            raise ValueError(f"a query holds each sense once, got two of {sense}")
        found[sense] = content
    if not found:
        raise ValueError("a query must hold at least one sense, got none")
    return Sample(key="query", **found)
