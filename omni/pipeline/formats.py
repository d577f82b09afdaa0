"""The closed table of what a member of a shard may be, and the limits that hold before allocation.

A member is named KEY.EXTENSION as in webdataset: the key ends at the first dot of the file's name.
Nothing outside this table is ever opened.
"""

import re

from omni.batch import SENSES

IMAGES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("wav", "flac", "opus", "ogg", "mp3")
EXTENSIONS = (*IMAGES, *SOUNDS, "txt", "json")
"""an index stores positions in this tuple: only ever add to its end"""
SLOTS = {e: "image" for e in IMAGES} | {e: "audio" for e in SOUNDS} | {"txt": "text"}
"""the sense of an extension; json describes, and may hold the text as well"""

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


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member. Raises `ValueError` naming the rule that it breaks."""
    path = name.removeprefix("./")
    folder, slash, file = path.rpartition("/")
    stem, dot, extension = file.partition(".")
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"a member's path must be relative and without .., got {name!r}")
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        raise ValueError(f"a member's name must not hold control characters or \\, got {name!r}")
    if not stem or not dot:
        raise ValueError(f"a member must be named KEY.EXTENSION, got {name!r}")
    if (extension := extension.lower()) not in EXTENSIONS:
        known = ", ".join(EXTENSIONS)
        raise UnknownExtensionError(
            f"extension of {name!r}, from the first dot on, must be one of {known}; "
            f"got {extension!r}"
        )
    return folder + slash + stem, extension


class UnknownExtensionError(ValueError):
    """A member that the table does not have."""
