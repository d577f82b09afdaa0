"""The one table of what is read, by the ending of a file's name, and the limits on what it holds.

`FORMATS` says for every ending which modality it is and whether a shard may hold it. What a shard
may not hold is read by `omni.read` and everything that stands on it, and converted at packing.
The ending decides the modality; the bytes decide how they are decoded (a PNG named .jpg is a PNG).

A member of a shard is named KEY.EXTENSION as in webdataset: the key ends at the first dot of the
file's name. Nothing outside the table is ever opened, and nothing in it is ever executed.
"""

import re
from dataclasses import dataclass

from omni.batch import SENSES


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        modality: "image", "audio", "text", or "video": frames, sound or both.
        in_shards: whether a shard may hold it as it is.
        library: "PIL", "libsndfile" or "FFmpeg", where one of them reads what a shard may not hold.
        reader: what that library calls the format; of FFmpeg a demuxer, of which the list is closed
            since others open what a file refers to.
    """

    modality: str
    in_shards: bool = False
    library: str = ""
    reader: str = ""


FORMATS = {
    "jpg": Format("image", in_shards=True),
    "jpeg": Format("image", in_shards=True),
    "png": Format("image", in_shards=True),
    "webp": Format("image", in_shards=True),
    "jfif": Format("image"),
    "jpe": Format("image"),
    "gif": Format("image", library="PIL", reader="GIF"),
    "bmp": Format("image", library="PIL", reader="BMP"),
    "tif": Format("image", library="PIL", reader="TIFF"),
    "tiff": Format("image", library="PIL", reader="TIFF"),
    "avif": Format("image", library="PIL", reader="AVIF"),
    "pbm": Format("image", library="PIL", reader="PPM"),
    "pgm": Format("image", library="PIL", reader="PPM"),
    "ppm": Format("image", library="PIL", reader="PPM"),
    "wav": Format("audio", in_shards=True),
    "flac": Format("audio", in_shards=True),
    "opus": Format("audio", in_shards=True),
    "ogg": Format("audio", in_shards=True),
    "mp3": Format("audio", in_shards=True),
    "oga": Format("audio"),
    "aif": Format("audio", library="libsndfile", reader="AIFF"),
    "aiff": Format("audio", library="libsndfile", reader="AIFF"),
    "aifc": Format("audio", library="libsndfile", reader="AIFF"),
    "au": Format("audio", library="libsndfile", reader="AU"),
    "caf": Format("audio", library="libsndfile", reader="CAF"),
    "m4a": Format("audio", library="FFmpeg", reader="mov"),
    "aac": Format("audio", library="FFmpeg", reader="aac"),
    "amr": Format("audio", library="FFmpeg", reader="amr"),
    "wma": Format("audio", library="FFmpeg", reader="asf"),
    "weba": Format("audio", library="FFmpeg", reader="matroska"),
    "mka": Format("audio", library="FFmpeg", reader="matroska"),
    "mp4": Format("video", library="FFmpeg", reader="mov"),
    "m4v": Format("video", library="FFmpeg", reader="mov"),
    "mov": Format("video", library="FFmpeg", reader="mov"),
    "3gp": Format("video", library="FFmpeg", reader="mov"),
    "mkv": Format("video", library="FFmpeg", reader="matroska"),
    "webm": Format("video", library="FFmpeg", reader="matroska"),
    "avi": Format("video", library="FFmpeg", reader="avi"),
    "txt": Format("text", in_shards=True),
}
"""every ending of a file that is read"""
UNREADABLE = (
    *("heic", "heif", "jxl", "jp2", "svg", "ico", "psd", "tga", "exr", "dng", "cr2", "nef", "arw"),
    *("wv", "ape", "mid", "midi", "ra", "dsf", "flv", "wmv", "mpg", "mpeg", "ts", "ogv", "vob"),
    *("pdf", "docx", "html", "md", "csv", "npy"),
)
"""endings of files that are not read: a name that ends so is not taken for a text"""

IMAGES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("wav", "flac", "opus", "ogg", "mp3")
EXTENSIONS = (*IMAGES, *SOUNDS, "txt", "json")
"""of what a shard may hold; an index stores positions in this tuple: only ever add to its end"""
SLOTS = {e: "image" for e in IMAGES} | {e: "audio" for e in SOUNDS} | {"txt": "text"}
"""the modality of an extension; json describes, and may hold the text as well"""


def endings(*modalities: str) -> tuple[str, ...]:
    """Return the endings of all files of these modalities that are read."""
    return tuple(ending for ending, form in FORMATS.items() if form.modality in modalities)


MAX_MEMBER_BYTES = 64 << 20
MAX_TEXT_BYTES = 64 << 10
"""of a txt or json member"""
MAX_PIXELS = 25_000_000
"""decoded in under 256 MB; half as many where the decoder takes twice the memory"""
MAX_SIDE = 65_535
"""of a picture; an index has 16 bits for it"""
MAX_SCANS = 64
"""passes over a JPEG: a progressive one has about ten, and each costs the time of a whole one"""
MAX_PARTS = 50_000
"""segments of a JPEG, chunks of a PNG or a WAV, pages of an Ogg: each is looked at"""
MAX_AUDIO_VALUES = 32_000_000
"""samples times channels"""
MAX_SAMPLE_RATE = 192_000
"""Hz"""

BITS = {sense: 1 << i for i, sense in enumerate(SENSES)}


def senses_of(mask: int) -> tuple[str, ...]:
    """The senses whose bits are set."""
    return tuple(sense for sense, bit in BITS.items() if mask & bit)


def mask_of(senses: str) -> int:
    """The bits of senses joined by "+". Raises `ValueError` for one that there is not."""
    mask = 0
    for sense in filter(None, senses.split("+")):
        if sense not in BITS:
            raise ValueError(f"a sense must be one of {', '.join(SENSES)}, got {sense!r}")
        mask |= BITS[sense]
    return mask


def split_path(name: str) -> tuple[str, str]:
    """Key and lower-case extension of any member. Raises `ValueError` for a name of no sample."""
    path = name.removeprefix("./")
    folder, slash, file = path.rpartition("/")
    stem, dot, extension = file.partition(".")
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"a member's path must be relative and without .., got {name!r}")
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        raise ValueError(f"a member's name must not hold control characters or \\, got {name!r}")
    if not stem or not dot:
        raise ValueError(f"a member must be named KEY.EXTENSION, got {name!r}")
    return folder + slash + stem, extension.lower()


def split_name(name: str) -> tuple[str, str]:
    """The same of a member that a shard may hold. Raises `ValueError` naming the broken rule."""
    key, extension = split_path(name)
    if extension not in EXTENSIONS:
        known = ", ".join(EXTENSIONS)
        raise UnknownExtensionError(
            f"extension of {name!r}, from the first dot on, must be one of {known}; "
            f"got {extension!r}"
        )
    return key, extension


class UnknownExtensionError(ValueError):
    """A member that the table does not have."""
