"""Tars of others, without an index, read once from their beginning to their end by webdataset.

Its reader ends without a word at a damaged header and makes two samples of one whose files are
not adjacent. So the headers are walked first, strictly, and what it gives is counted against them.
"""

import gzip
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from webdataset.tariterators import group_by_keys, tar_file_iterator

from omni.pipeline.files import is_of_sample
from omni.pipeline.formats import split_path
from omni.pipeline.tar import walk

GZIP = b"\x1f\x8b"
MAX_RATIO, ALWAYS = 100, 1 << 30
"""of the bytes of a tar to those of its gzip, as media hardly shrink; and bytes that may be"""


def stream_members(path: str | Path) -> Iterator[dict[str, bytes | str]]:
    """Each sample of a tar, which may be gzipped, as {"__key__": key, extension: bytes}.

    The path is opened here: never a `pipe:`. Extensions are all that follows the first dot, in
    lower case; nothing is decoded. Raises `ValueError`, before the first sample, where headers
    are damaged or cut, names repeat, or files of a sample are not adjacent.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            expected, found = _count(file), 0
            file.seek(0)
            # annotated as if it took a TarFile
            members: Any = tar_file_iterator(cast(Any, file), select_files=is_of_sample)
            for sample in group_by_keys({**member, "__url__": ""} for member in members):
                key = str(sample.pop("__key__")).removeprefix("./")
                del sample["__url__"]
                found += len(sample)
                yield {"__key__": key, **sample}
            if found != expected:
                raise ValueError(f"{found} of {expected} members could be read")
    except (ValueError, EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"tar {str(path)!r}: {error}") from error


def _count(file: BinaryIO) -> int:
    """Members that belong to samples. Raises `ValueError` for names that would be lost."""
    count, last = 0, ""
    keys: set[str] = set()
    extensions: set[str] = set()
    for entry in walk(file):
        if not is_of_sample(entry.name):
            continue
        key, extension = split_path(entry.name)
        if key != last:
            if key in keys:
                raise ValueError(f"files of a sample must be adjacent: {key!r} comes again")
            keys.add(key)
            last, extensions = key, set()
        if extension in extensions:
            raise ValueError(f"sample {key!r} has two files .{extension}")
        extensions.add(extension)
        count += 1
    return count


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The tar itself; a gzipped one is unpacked into a nameless file first, which can be walked."""
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
        file.seek(0)
        if not compressed:
            yield file
            return
        limit, size = max(MAX_RATIO * path.stat().st_size, ALWAYS), 0
        with tempfile.TemporaryFile() as plain, gzip.open(file) as unpacked:
            while block := unpacked.read(1 << 20):
                size += len(block)
                if size > limit:
                    raise ValueError(f"it unpacks to more than {limit} bytes")
                plain.write(block)
            plain.seek(0)
            yield cast(BinaryIO, plain)
