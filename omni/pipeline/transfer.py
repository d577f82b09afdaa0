"""Requests for objects at URLs, by fsspec: what is there, and its bytes in ranges, with retries."""

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, TypeVar

import fsspec
import fsspec.config
from fsspec import AbstractFileSystem

SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
SCHEMES |= {"http": "aiohttp", "https": "aiohttp"}
"""what a URL may begin with, and the package that fsspec needs for it"""

RANGE = 8 << 20
"""bytes a request"""
TRIES, PAUSE = 5, 0.5
"""of a request, and the seconds before the second, doubled from one to the next"""
SILENCE = 60.0
"""seconds without a byte after which a request has failed"""
MARKS = ("ETag", "etag", "generation", "blob_id", "Last-Modified", "LastModified")
"""tell the versions of an object apart: the first of them that the server names"""
PASSING = (408, 425, 429)
"""statuses of clients' errors that are none: too slow, too early, too often"""

T = TypeVar("T")


class MissingError(ValueError):
    """There is nothing at a URL."""


class _NoRangesError(ValueError):
    """A server that sends everything, whatever it is asked for."""


@dataclass(frozen=True)
class State:
    """What a server says of an object; `mark` changes where its bytes do."""

    size: int | None
    mark: str
    ranges: bool


def describe(url: str, fresh: bool = False) -> State:
    """What is at a URL; unless `fresh`, it may be what a listing said before. Raises as `retry`."""
    files = _filesystem(url, fresh)
    info = retry(url, partial(files.info, url))
    if info["type"] != "file":
        raise MissingError(f"{url} is a folder")
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return State(info["size"], f"{info['size']} {mark}", info.get("partial", True))


def list_names(url: str) -> list[str]:
    """Names of what is in a folder, sorted: none where the server does not say."""
    files = _filesystem(url, fresh=True)
    paths = retry(url, lambda: files.ls(f"{url}/", detail=False))
    return sorted({str(path).rstrip("/").rpartition("/")[2] for path in paths})


def read(url: str) -> bytes:
    """All of a small object, as it is now."""
    data = retry(url, partial(_filesystem(url, fresh=True).cat_file, url))
    assert isinstance(data, bytes)
    return data


def copy(url: str, state: State, target: BinaryIO) -> None:
    """Appends what a file lacks of an object, range by range; all of it where there are none."""
    files = _filesystem(url)
    if state.ranges and state.size is not None:
        start = target.seek(0, os.SEEK_END)
        try:
            _append_ranges(files, url, start, state.size, target)
            return
        except _NoRangesError:
            pass
    retry(url, partial(_copy_whole, files, url, state.size, target))


def _append_ranges(
    files: AbstractFileSystem, url: str, start: int, size: int, target: BinaryIO
) -> None:
    source = retry(url, lambda: files.open(url, block_size=RANGE, cache_type="none", size=size))
    with source:
        for position in range(start, size, RANGE):
            part = partial(_read_range, source, position, min(RANGE, size - position))
            target.write(retry(url, part))


def _read_range(source: Any, start: int, size: int) -> bytes:
    source.seek(start)
    try:
        data = source.read(size)
    except ValueError as error:  # fsspec's word for it
        raise _NoRangesError(str(error)) from error
    if len(data) != size:
        raise OSError(f"{len(data)} of {size} bytes came at byte {start}")
    return data


def _copy_whole(files: AbstractFileSystem, url: str, size: int | None, target: BinaryIO) -> None:
    target.seek(0)
    target.truncate()
    source: Any = files.open(url, block_size=0)
    with source:
        shutil.copyfileobj(source, target, RANGE)
    if size is not None and target.tell() != size:
        raise OSError(f"{target.tell()} of {size} bytes came")


def retry(url: str, request: Callable[[], T]) -> T:
    """What `request` returns; failures that may pass are waited out, with growing pauses.

    Raises:
        MissingError: there is none.
        ValueError: it may not be had.
        OSError: TRIES tries failed.
    """
    failure = Exception()
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
        try:
            return request()
        except ValueError:
            raise
        except Exception as error:  # each library has classes of its own
            failure = _cause(url, error)
        status = _status(failure)
        if status in (404, 410):
            raise MissingError(f"there is nothing at {url}") from failure
        if status is not None and 400 <= status < 500 and status not in PASSING:
            raise ValueError(f"{url} may not be had: {_words(failure)}") from failure
    raise OSError(f"{url} could not be fetched in {TRIES} tries: {_words(failure)}") from failure


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _cause(url: str, error: Exception) -> Exception:
    # For http, fsspec says "not found" whatever came of its question.
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    return cause if url.startswith("http") and isinstance(cause, Exception) else error


def _status(error: Exception) -> int | None:
    """The HTTP status that an error stands for; None for failures of another kind."""
    if isinstance(error, FileNotFoundError):
        return 404
    return 403 if isinstance(error, PermissionError) else getattr(error, "status", None)


def _filesystem(url: str, fresh: bool = False) -> AbstractFileSystem:
    """That of this thread; a `fresh` one remembers no listings, nor do later ones of any thread."""
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {}
    try:
        if scheme.startswith("http"):
            from aiohttp import ClientTimeout

            # No limit for all of a request: slow is not dead. Proxies and .netrc are heeded.
            timeout = ClientTimeout(sock_connect=SILENCE, sock_read=SILENCE)
            given = fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})
            options["client_kwargs"] = {"timeout": timeout, "trust_env": True, **given}
        if fresh:
            fsspec.get_filesystem_class(scheme).clear_instance_cache()
        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        raise ValueError(
            f"{scheme}:// needs a package that is not installed: pip install {SCHEMES[scheme]}"
        ) from error
