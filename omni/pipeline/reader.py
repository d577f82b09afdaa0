"""The bytes of one sample by its number: one read at a known place, each member checked."""

import os
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from omni.pipeline import remote
from omni.pipeline.dataset import Dataset, Shard
from omni.pipeline.formats import split_name
from omni.pipeline.tar import first_name

OPEN_FILES = 64
TRIES, PAUSE = 5, 0.2
"""of reads that fail for a reason that may pass, and seconds before the second one"""


class SampleError(ValueError):
    """A sample that cannot be used, for good: where it is and why."""

    def __init__(self, shard: str, key: str, member: str, reason: str) -> None:
        super().__init__(f"shard {shard!r}, sample {key!r}, member .{member}: {reason}")
        self.shard, self.key, self.member, self.reason = shard, key, member, reason


class Reader:
    """Reads samples of a data set.

    Reads that fail are tried again with growing pauses, as a network file system may need; then
    the `OSError` is passed on. `sleep` is called with seconds between tries; what `fetching` gives
    is entered while a shard comes from far away.
    """

    def __init__(
        self,
        dataset: Dataset,
        sleep: Callable[[float], None] = time.sleep,
        fetching: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.dataset, self.sleep, self.fetching = dataset, sleep, fetching
        self.files: OrderedDict[str, int] = OrderedDict()
        self.memory = bytearray()

    def members(
        self, number: int, faults: dict[str, str] | None = None
    ) -> tuple[str, dict[str, bytearray]]:
        """Key and bytes by extension of a sample. Raises `SampleError` as `content` does."""
        return self.key(number), self.content(number, faults=faults)

    def content(
        self, number: int, only: tuple[str, ...] = (), faults: dict[str, str] | None = None
    ) -> dict[str, bytearray]:
        """Bytes by extension of a sample, or of `only` some of its members.

        Where bytes are not those that were indexed, raises `SampleError`; or, where there are
        `faults`, leaves the member out and puts the reason there.
        """
        shard, row = self.dataset.locate(number)
        members = shard.index.members(row)
        if only:
            members = [m for m in members if m.extension in only]
        if not members:
            return {}
        start, last = members[0].offset, members[-1]
        data = self._read(shard, start, last.offset + last.size - start)
        found = {}
        for extension, offset, size, crc in members:
            member = bytearray(data[offset - start : offset - start + size])
            if (actual := zlib.crc32(member)) == crc:
                found[extension] = member
                continue
            reason = f"damaged: crc32 is {actual:08x}, indexed was {crc:08x}"
            if faults is None:
                raise self.blame(number, extension, reason)
            faults[extension] = reason
        return found

    def key(self, number: int) -> str:
        """The key of a sample, from its headers. Raises `SampleError` where they are damaged."""
        shard, row = self.dataset.locate(number)
        start, first = shard.index.start(row), shard.index.members(row)[0].offset
        try:
            return split_name(first_name(bytes(self._read(shard, start, first - start))))[0]
        except ValueError as error:
            raise SampleError(shard.name, "?", "?", f"damaged: {error}") from error

    def blame(self, number: int, member: str, reason: str) -> SampleError:
        """The error of a member of a sample; its key is `?` where that is damaged too."""
        shard, _ = self.dataset.locate(number)
        try:
            return SampleError(shard.name, self.key(number), member, reason)
        except SampleError:
            return SampleError(shard.name, "?", member, reason)

    def close(self) -> None:
        """Closes every file."""
        while self.files:
            os.close(self.files.popitem()[1])

    def _read(self, shard: Shard, start: int, size: int) -> memoryview:
        """Bytes of a shard, good until the next are read: the memory is used again."""
        if size > len(self.memory):
            self.memory = bytearray(size)
        view = memoryview(self.memory)[:size]
        for attempt in range(TRIES):
            try:
                if (count := os.preadv(self._open(shard), [view], start)) == size:
                    return view
                raise OSError(f"{shard.url}: {count} of {size} bytes at byte {start}")
            except OSError:
                if attempt == TRIES - 1:
                    raise
                self._forget(shard)
                self.sleep(PAUSE * 2**attempt)
        raise AssertionError("unreachable")

    def _open(self, shard: Shard) -> int:
        if shard.url not in self.files:
            path = shard.url
            if remote.is_remote(path):
                with self.fetching():
                    path = remote.Cache().fetch(path, shard.index.tar_bytes, shard.sha256)
            self.files[shard.url] = os.open(path, os.O_RDONLY)
            if len(self.files) > OPEN_FILES:
                os.close(self.files.popitem(last=False)[1])
        self.files.move_to_end(shard.url)
        return self.files[shard.url]

    def _forget(self, shard: Shard) -> None:
        if shard.url in self.files:
            os.close(self.files.pop(shard.url))
