"""What goes into a model and comes out: texts, pictures, sound, video; from files, to samples."""

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16, UInt8
from PIL import Image
from torch import Tensor

from omni.batch import Sample
from omni.modality.audio import to_float, to_int16
from omni.modality.text import clean_text
from omni.names import is_text, to_text
from omni.pipeline.decode import check_rate, read_audio, read_image, to_pixels
from omni.pipeline.files import walk_files
from omni.pipeline.formats import FORMATS, UNREADABLE
from omni.pipeline.video import decode_video

ENDING = re.compile(rf"\S\.({'|'.join((*FORMATS, *UNREADABLE))})\s*\Z", re.IGNORECASE)
BEGINNING = re.compile(r"(\.{0,2}[/\\]|~[/\\]|[a-z]:[/\\]|[a-z]+://)\S", re.IGNORECASE)
ANY_ENDING = re.compile(r"\S+\.[a-z][a-z0-9]{0,4}", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound.

    Attributes:
        samples: one row. Integers are taken by the range of their type, and become float32.
        sample_rate: Hz.

    Raises:
        ValueError: for samples that are not one row, for floats far beyond ±1 and for NaN.
    """

    samples: Float[np.ndarray, "S"]
    sample_rate: int

    def __post_init__(self) -> None:
        check_rate(self.sample_rate)
        samples = np.ascontiguousarray(self.samples)
        if samples.ndim != 1:
            raise ValueError(
                f"sound must be one row of samples, got shape {samples.shape}; "
                "average the channels of stereo"
            )
        object.__setattr__(self, "samples", to_float(samples))
        object.__setattr__(self, "sample_rate", int(self.sample_rate))  # some libraries have floats

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


class Text(str):
    """A text, though there is a file of that name."""


Item = (
    str | Path | Image.Image | Audio | Video | Sequence["str | Path | Image.Image | Audio | Video"]
)
"""a text, a file, a picture, a sound, a video, or a tuple of these: one query of several"""


def read(path: str | Path) -> str | Image.Image | Audio | Video:
    """Return what a file holds, as an item.

    Raises `ValueError` for an ending that is not in the table of formats, and damaged contents.
    """
    path = Path(path)
    extension = path.suffix.lower().removeprefix(".")
    if not os.path.isfile(path):  # unlike Path.is_file it takes names of any length
        missing = "a folder, not a file" if os.path.isdir(path) else "no such file"
        raise ValueError(f"{path}: {missing}")
    try:
        if extension in FORMATS:
            return decode(extension, path.read_bytes())
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error
    raise ValueError(f"{path}: the ending must be one of {', '.join(FORMATS)}")


def decode(extension: str, data: bytes) -> str | Image.Image | Audio | Video:
    """Return what the bytes of a file hold, by its ending. Raises what its decoder does."""
    modality = FORMATS[extension].modality
    if modality == "image":
        return to_picture(read_image(data))
    if modality == "audio":
        return to_sound(*read_audio(data))
    if modality == "video":
        pixels, samples, rate = decode_video(data)
        sound = None if samples is None else to_sound(samples, rate)
        if pixels is None:  # a recording in a video's container, as browsers make them
            assert sound is not None
            return sound
        return Video([to_picture(frame) for frame in pixels], sound)
    return clean_text(data.decode("utf-8"))


def to_picture(pixels: UInt8[Tensor, "3 H W"]) -> Image.Image:
    """Return the pixels of a sample as a picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def to_sound(samples: Int16[Tensor, "S"], sample_rate: int) -> Audio:
    """Return the sound of a sample, which becomes the same samples again."""
    return Audio(samples.numpy(), sample_rate)


def read_argument(argument: str, as_text: bool = False) -> str | Image.Image | Audio | Video:
    """Return what a word of a command line means: the file of that name, or else the text itself.

    What is there as a file, or looks like one (`is_path`), is never taken for a text unless
    `as_text` says so. Raises `ValueError` where it cannot be read.
    """
    if not as_text and (os.path.exists(argument) or is_path(argument)):
        try:
            return read(argument)
        except ValueError as error:
            raise ValueError(f"{error} (with --text it is taken for a text)") from error
    if not is_text(argument):
        raise ValueError(f"{to_text(argument)}: a text must be UTF-8, and there is no such file")
    return Text(argument)


def is_path(argument: str) -> bool:
    """Whether a word looks like the path of a file, be there one or not.

    It does if it begins like a path or an address, ends like a file or a folder, or names what
    would lie in a folder that is there. "and/or", "red / green", "v1.5" and "e.g." do not.
    """
    if BEGINNING.match(argument) or ENDING.search(argument):
        return True
    folder, _, file = argument.rpartition("/")
    if folder == "":
        return False
    # With white space around, a slash is one of a text: "red apple / green pear".
    is_word = not any(map(str.isspace, argument))
    ends_like_one = file == "" or ANY_ENDING.fullmatch(file) is not None
    return os.path.isdir(folder) or (is_word and ends_like_one)


def is_file_name(name: str) -> bool:
    """Whether a name ends like a file that `read` knows."""
    return "." in name and name.rsplit(".", 1)[-1].lower() in FORMATS


def files_of(folder: str | Path) -> list[str]:
    """The files in and below a folder that `read` knows by their endings, in order."""
    walked = (at / name for at, names in walk_files(Path(folder)) for name in names)
    return sorted(str(path) for path in walked if is_file_name(path.name) and path.is_file())


def passed_over(folder: str | Path) -> str:
    """A line that says how many files of other endings there are; empty where there are none."""
    names = (Path(name) for _, names in walk_files(Path(folder)) for name in names)
    others = [name.suffix.lower() or name.name for name in names if not is_file_name(name.name)]
    counts = [f"{count} x {ending}" for ending, count in Counter(others).most_common(5)]
    return f"{folder}: {len(others)} files passed over: {', '.join(counts)}" if others else ""


def resolve(item: Item) -> Item:
    """Return an item with files read where it has paths.

    Raises `ValueError` for a text that is the name of a file: it hardly means its letters.
    """
    if isinstance(item, Path):
        return read(item)
    if isinstance(item, list | tuple):
        return tuple(resolve(part) for part in item)  # type: ignore[arg-type]
    if type(item) is str and is_file_name(item) and os.path.isfile(item):
        raise ValueError(
            f"{item!r} is a file: give omni.read({item!r}) for what it holds, or "
            f"omni.Text({item!r}) for these letters"
        )
    return item


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
        yield "text", clean_text(value)
    elif isinstance(value, Image.Image):
        yield "image", to_pixels(value)
    elif isinstance(value, Audio):
        samples = torch.from_numpy(value.samples)
        yield "audio", to_int16(samples, value.sample_rate, sample_rate)
    elif isinstance(value, Video):
        if len({frame.size for frame in value.frames}) != 1:
            raise ValueError("a video must have frames, all of one size")
        yield "image", torch.stack([to_pixels(frame) for frame in value.frames])
        if value.audio is not None:
            yield from _senses(value.audio, sample_rate)
    else:
        kind = type(value).__name__
        raise ValueError(f"an item must be str, Path, PIL.Image, Audio or Video, got {kind}")
