"""Objects at URLs: fetched once a node into a cache, whole and checked, or not handed out at all.

A cache is a folder that the processes of a node share. `objects/KEY/` holds one object under its
own name, and `.MARK.partial` while it is fetched. Who fetches it has the lock `.fetch`; who was
handed it shares the lock `.use`, and what is in use is not removed. The lock files stay: they are
empty, and where one is removed that another waits for, there are soon two.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from omni.pipeline import transfer
from omni.pipeline.transfer import SCHEMES

MAX_BYTES = 64 << 30
HELD = 64
"""objects: the last ones that a process was handed stay locked"""
Check = Callable[[Path], object]

_held: OrderedDict[Path, int] = OrderedDict()
_held_guard = threading.Lock()


def is_remote(path: str) -> bool:
    """Whether a path is a URL. Raises `ValueError` for one that is not of SCHEMES."""
    scheme, mark, _ = path.partition("://")
    if not mark and not path.startswith("pipe:"):
        return False
    if scheme not in SCHEMES:
        allowed = ", ".join(f"{s}://" for s in SCHEMES)
        raise ValueError(f"a URL must begin with one of {allowed}, got {path!r}")
    return True


def cache_folder() -> Path:
    """`$OMNI_CACHE`, else omni in the user's cache, else, if that cannot be written, a temporary
    folder of the user."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.environ.get("OMNI_CACHE") or Path(home) / "omni")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        pass
    folder = Path(tempfile.gettempdir()) / f"omni-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():  # anybody may have made it
        raise ValueError(f"the cache {str(folder)!r} belongs to another; set OMNI_CACHE")
    return folder


class Cache:
    """Fetches objects into a folder, and removes those that were not used for longest.

    Args:
        folder: that of `cache_folder` if none is given.
        max_bytes: kept by all processes together; only what is in use may come to more.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = (folder or cache_folder()) / "objects", max_bytes
        self.unseen = max_bytes

    def fetch(
        self,
        url: str,
        size: int | None = None,
        sha256: str | None = None,
        version: str = "",
        fresh: bool = False,
        check: Check | None = None,
    ) -> Path:
        """A file that holds the whole object; another process that fetches it is waited for.

        It stays until this process has been handed HELD others: open it, or fetch it again.

        Args:
            size: bytes that the object must have; `sha256`: its digest.
            version: tells apart objects that had one URL one after the other. Without it and a
                digest the server is asked, on every call, which one it has.
            fresh: fetch it in any case. For small objects that may change.
            check: in place of a digest, raises `ValueError` for a file that is not the one meant.

        Raises:
            MissingError: there is none.
            ValueError: it may not be had, or its bytes were wrong twice.
            OSError: it could not be fetched in TRIES tries.
        """
        if sha256 is not None:
            check = partial(_check_digest, sha256)
        elif not (version or fresh):
            version = transfer.describe(url, fresh=True).mark
            check = partial(_check_unchanged, url, version)
        place = self._place(url, version or sha256 or "")
        use = _lock(place.with_name(".use"), fcntl.LOCK_SH)
        try:
            if fresh:
                _replace(url, place)
            elif not _is_whole(place, size):
                lock = _lock(place.with_name(".fetch"), fcntl.LOCK_EX)
                try:
                    if not _is_whole(place, size):
                        self._download(url, place, size, check, resume=sha256 is not None)
                finally:
                    os.close(lock)
        except BaseException:
            os.close(use)
            raise
        _hold(place, use)
        return place

    def _place(self, url: str, version: str) -> Path:
        name = re.sub(r"[^\w.-]", "_", url.rpartition("/")[2]).lstrip(".")
        place = self.folder / _digest(f"{url}\n{version}") / (name or "_")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _download(
        self, url: str, place: Path, size: int | None, check: Check | None, resume: bool
    ) -> None:
        reason = ""
        for fresh in (False, True):  # wrong bytes may come from a fault on the way
            state = transfer.describe(url, fresh)
            if size is not None and state.size not in (None, size):
                raise ValueError(f"{url} must have {size} bytes, it has {state.size}")
            part = place.with_name(f".{_digest(state.mark)}.partial")
            for other in place.parent.glob(".*.partial"):
                if other != part or not resume:  # only a digest tells whether pieces fit together
                    other.unlink()
            self._make_room(url, state.size or 0)
            with part.open("ab") as file:
                transfer.copy(url, state, file)
                os.fsync(file.fileno())
            try:
                if check is not None:
                    check(part)
            except ValueError as error:
                reason = str(error)
                part.unlink()
            else:
                part.replace(place)
                return
        raise ValueError(f"{url}: wrong bytes, twice: {reason}")

    def _make_room(self, url: str, size: int) -> None:
        """Removes what was not used for longest until an object fits."""
        self.unseen += size
        if self.unseen * 100 >= self.max_bytes:  # looking at every file is not for every index
            self.unseen = 0
            found = sorted((*_usage(folder), folder) for folder in self.folder.iterdir())
            total = size + sum(num_bytes for _, num_bytes, _ in found)
            for _, num_bytes, folder in found:
                if total > self.max_bytes and num_bytes and _remove(folder):
                    total -= num_bytes
        if (free := shutil.disk_usage(self.folder).free) < size:
            raise ValueError(
                f"{url} has {size} bytes, the disk of {str(self.folder)!r} has {free} left; "
                f"OMNI_CACHE names another folder"
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _is_whole(place: Path, size: int | None) -> bool:
    """Nothing that is not whole has this name, unless somebody else cut it."""
    return place.exists() and size in (None, place.stat().st_size)


def _replace(url: str, place: Path) -> None:
    """Fetches a small object beside those who read what was there before."""
    part = place.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
    part.write_bytes(transfer.read(url))
    part.replace(place)


def _check_digest(sha256: str, path: Path) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise ValueError(f"sha256 must be {sha256}, got {actual}")


def _check_unchanged(url: str, mark: str, path: Path) -> None:
    if transfer.describe(url, fresh=True).mark != mark:
        raise ValueError("it changed while it was fetched")


def _lock(path: Path, kind: int) -> int:
    """An open file that is locked until it is closed."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, kind)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _hold(place: Path, use: int) -> None:
    """Keeps the locks of the objects that were handed out last, and notes the time."""
    now = time.time_ns()
    os.utime(use, ns=(now, now))
    with _held_guard:
        if place in _held:
            os.close(_held.pop(place))
        _held[place] = use
        while len(_held) > HELD:
            os.close(_held.popitem(last=False)[1])


def _usage(folder: Path) -> tuple[int, int]:
    """When an object was handed out last, and its bytes."""
    used = size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be removing it
            state = file.stat()
            size += state.st_size
            if file.name == ".use":
                used = state.st_mtime_ns
    return used, size


def _remove(folder: Path) -> bool:
    """Removes an object unless it is in use."""
    try:
        lock = _lock(folder / ".use", fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        for file in folder.iterdir():
            if file.name not in (".use", ".fetch"):
                file.unlink()
    finally:
        os.close(lock)
    return True
