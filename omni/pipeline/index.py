"""The index of a shard: where every member of every sample is, and what it will need.

From it alone follow the order of an epoch, the lengths by which samples are sorted or packed, and
any sample by its number with one read. A file of two tables, memory-mapped: 29 bytes a sample and
11 bytes a member, so 62 bytes for a sample of three members.
"""

import hashlib
import mmap
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from omni.pipeline.decode import audio_info, decode_json, decode_text, image_size, texts_of
from omni.pipeline.files import is_of_sample
from omni.pipeline.formats import (
    BITS,
    EXTENSIONS,
    MAX_MEMBER_BYTES,
    SLOTS,
    UnknownExtensionError,
    split_name,
)
from omni.pipeline.tar import BLOCK, Entry, padded, walk

MAGIC = b"OMNIIDX1"
RULES = 2
"""raised where the same bytes are described in another way: what a cache holds is built anew"""
HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("tar_bytes", "<u8"),
        ("samples", "<u8"),
        ("members", "<u8"),
        ("digest", "S32"),
    ]
)
SAMPLE = np.dtype(
    [
        ("start", "<u8"),  # of its first header, in the tar
        ("member", "<u4"),  # its first row in the other table
        ("width", "<u2"),  # pixels; 0 where the header cannot be read
        ("height", "<u2"),
        ("frames", "<u4"),  # of audio, at the rate of the file
        ("rate", "<u4"),  # Hz
        ("text", "<u4"),  # bytes
        ("senses", "u1"),
    ]
)
MEMBER = np.dtype([("size", "<u4"), ("crc", "<u4"), ("gap", "<u2"), ("kind", "u1")])
"""`gap`: blocks of headers before its bytes; `kind`: its place in EXTENSIONS"""


class Member(NamedTuple):
    """One member of a sample: where its bytes are in the tar, and their crc32."""

    extension: str
    offset: int
    size: int
    crc: int


class Index:
    """The two tables of one shard."""

    def __init__(
        self, samples: np.ndarray, members: np.ndarray, tar_bytes: int, path: Path | None = None
    ) -> None:
        self.samples, self.table, self.tar_bytes = samples, members, tar_bytes
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes the path alone: all of them share the pages of the file."""
        assert self.path is not None, "only an index that was loaded can go to another process"
        return Index.load, (self.path, False)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def digest(self) -> str:
        """Of all that the index says: sizes, places and crc32 of every member."""
        state = hashlib.sha256(f"{self.tar_bytes}".encode())
        state.update(self.samples.tobytes())
        state.update(self.table.tobytes())
        return state.hexdigest()[:32]

    def start(self, row: int) -> int:
        """Where the first header of a sample begins."""
        return int(self.samples["start"][row])

    def members(self, row: int) -> list[Member]:
        """The members of a sample in the order of the tar."""
        first = int(self.samples["member"][row])
        last = int(self.samples["member"][row + 1]) if row + 1 < len(self) else len(self.table)
        position, found = self.start(row), []
        for size, crc, gap, kind in self.table[first:last].tolist():
            position += gap * BLOCK
            found.append(Member(EXTENSIONS[kind], position, size, crc))
            position += padded(size)
        return found

    def check(self, path: Path) -> None:
        """Raises `ValueError` for what no shard can hold: a digest that fits shows no good will."""
        firsts, table = self.samples["member"].astype(np.int64), self.table
        begins = firsts[0] == 0 if len(self) else len(table) == 0
        rising = begins and (np.diff(firsts, append=len(table)) > 0).all()
        known = (table["kind"] < len(EXTENSIONS)).all() and (self.samples["senses"] < 8).all()
        if not rising or not known or (table["size"] > MAX_MEMBER_BYTES).any():
            raise ValueError(f"index {str(path)!r} names members that no shard can hold")

    def save(self, path: Path) -> None:
        """Written beside and renamed: a file that is there is whole."""
        sizes = self.tar_bytes, len(self.samples), len(self.table)
        header = np.array((MAGIC, *sizes, self.digest.encode()), HEADER)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(header.tobytes() + self.samples.tobytes() + self.table.tobytes())
        partial.replace(path)

    @staticmethod
    def load(path: Path, verify: bool = True) -> "Index":
        """Memory-mapped. Raises `ValueError` for a file that is damaged or of another version."""
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < HEADER.itemsize:
                raise ValueError(f"index {str(path)!r} is cut: {size} bytes")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = np.frombuffer(data, HEADER, 1)[0]
        if bytes(header["magic"]) != MAGIC:
            raise ValueError(f"{str(path)!r} is no index of this version")
        counts = int(header["samples"]), int(header["members"])
        if size != HEADER.itemsize + counts[0] * SAMPLE.itemsize + counts[1] * MEMBER.itemsize:
            raise ValueError(f"index {str(path)!r} is damaged: {size} bytes do not fit its header")
        samples = np.frombuffer(data, SAMPLE, counts[0], HEADER.itemsize)
        members = np.frombuffer(data, MEMBER, counts[1], size - counts[1] * MEMBER.itemsize)
        index = Index(samples, members, int(header["tar_bytes"]), path)
        if verify and index.digest != bytes(header["digest"]).decode("ascii", "replace"):
            raise ValueError(f"index {str(path)!r} is damaged: its digest does not fit")
        if verify:
            index.check(path)
        return index


def build_index(tar: Path, ignore: tuple[str, ...] = ()) -> Index:
    """Walks a tar and reads every byte once. Raises `ValueError` for what a shard must not hold.

    `ignore`: extensions that are passed over; any other unknown one is refused.
    """
    builder = _Builder(ignore)
    with tar.open("rb") as file:
        for entry in walk(file):
            file.seek(entry.offset)
            builder.add(entry, file.read(entry.size))
    return builder.index(tar.stat().st_size)


class _Builder:
    """Collects members into rows."""

    def __init__(self, ignore: tuple[str, ...]) -> None:
        self.ignore, self.keys = ignore, set()
        self.samples: list[list[Any]] = []
        self.members: list[tuple[int, int, int, int]] = []
        self.key, self.end = "", 0
        self.slots: set[str] = set()

    def add(self, entry: Entry, data: bytes) -> None:
        name = entry.name
        if not is_of_sample(name):
            return  # as of what is ignored, its bytes are passed over with the next headers
        try:
            key, extension = split_name(name)
        except UnknownExtensionError:
            if name.rpartition("/")[2].partition(".")[2].lower() in self.ignore:
                return
            raise
        if key != self.key:
            if key in self.keys:
                raise ValueError(f"files of a sample must be adjacent: {key!r} comes again")
            self.keys.add(key)
            self.key, self.slots = key, set()
            self.end = entry.start
            self.samples.append([self.end, len(self.members), 0, 0, 0, 0, 0, 0])
        slot = SLOTS.get(extension, extension)
        if slot in self.slots:
            raise ValueError(f"sample {key!r} has two files for its {slot}: {name!r}")
        self.slots.add(slot)
        gap = (entry.offset - self.end) // BLOCK
        if gap > 65_535:
            raise ValueError(f"{gap} blocks before member {name!r}: too much to pass over")
        self.members.append((len(data), zlib.crc32(data), gap, EXTENSIONS.index(extension)))
        self.end = entry.offset + padded(len(data))
        self._describe(self.samples[-1], slot, data)

    def _describe(self, row: list[Any], slot: str, data: bytes) -> None:
        """Sizes, as far as the headers can be read; what is damaged is found when it is decoded.

        An empty file, or a blank text, is a modality that the sample does not have.
        """
        if not data:
            return
        before = row[7]
        row[7] |= BITS.get(slot, 0)
        try:
            if slot == "image":
                width, height = image_size(data)
                row[2:4] = width, height
            elif slot == "audio":
                frames, rate, _ = audio_info(data)
                row[4:6] = frames, rate
            elif slot == "text":
                row[6] = len(data)
                if not decode_text(data):
                    row[6:] = 0, before
            elif not row[7] & BITS["text"]:
                texts = texts_of(decode_json(data))
                if texts:
                    row[7] |= BITS["text"]
                    row[6] = len(next(iter(texts.values()))[0].encode())
        except ValueError:
            pass

    def index(self, size: int) -> Index:
        samples = np.array([tuple(row) for row in self.samples], SAMPLE)
        return Index(samples, np.array(self.members, MEMBER), size)
