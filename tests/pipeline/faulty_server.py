"""An HTTP server of shards that fails when it is told to, and remembers what it was asked."""

import hashlib
import os
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from omni.pipeline import remote, transfer
from omni.pipeline.remote import Cache
from omni.pipeline.writer import write_manifest, write_shard

RANGE = 4096
SHARDS = ("train-000000.tar", "train-000001.tar", "test-000000.tar")
FIRST, FIRST_INDEX = SHARDS[0], "train-000000.idx"


@dataclass(frozen=True)
class Request:
    method: str
    name: str
    first: int | None  # of the range; None where everything was asked for


class FaultyServer(ThreadingHTTPServer):
    """What it does to a file is said by its name.

    faults: one for each GET, in their order: "500", "403", "reset" (in the middle), "cut" (half,
        then hangs up), "short" (half, and says so), "slow", "silent" (half, then nothing), "flip"
        (a bit) or "ok".
    always: one for every GET that has none of `faults`.
    rangeless: gives everything, whatever is asked for.
    gave_up: whether it was silent for longer than anybody waited.
    muted: so many questions for it (HEAD, or GET) are answered by 503.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults: dict[str, deque[str]] = defaultdict(deque)
        self.always: dict[str, str] = defaultdict(str)
        self.rangeless: set[str] = set()
        self.muted: dict[str, int] = defaultdict(int)
        self.etags: dict[str, str] = defaultdict(lambda: '"1"')
        self.lists = True
        self.requests: list[Request] = []
        self.guard = threading.Lock()
        self.closing = threading.Event()
        self.gave_up = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, name: str, method: str = "GET") -> int:
        return sum((r.name, r.method) == (name, method) for r in self.requests)

    def ranges(self, name: str) -> list[int]:
        """The first byte of each range that was asked for."""
        return [r.first for r in self.requests if r.name == name and r.first is not None]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    server: FaultyServer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the console."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        server, name, asked = self.server, self.path.strip("/"), self.headers.get("Range")
        span = [int(n) for n in asked.removeprefix("bytes=").split("-")] if asked else None
        fault = ""
        with server.guard:
            server.requests.append(Request(self.command, name, span[0] if span else None))
            if server.muted[name]:
                server.muted[name] -= 1
                fault = "503"
            elif self.command == "GET":
                queue = server.faults[name]
                fault = queue.popleft() if queue else server.always[name]
        if fault.isdigit():
            return self.send(int(fault), b"no")
        if not name and server.lists:
            names = sorted(path.name for path in server.folder.iterdir())
            page = "".join(f'<a href="{n}">{n}</a>' for n in names).encode()
            return self.send(200, page, {"Content-Type": "text/html"})
        if not (server.folder / name).is_file():
            return self.send(404, b"no such thing")
        data, headers = (server.folder / name).read_bytes(), {"ETag": server.etags[name]}
        if span is None or name in server.rangeless:
            return self.send(200, data, headers, fault)
        headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{len(data)}"
        return self.send(206, data[span[0] : span[1] + 1], headers, fault)

    def send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, fault: str = ""
    ) -> None:
        half = len(data) // 2
        if fault == "short":
            data = data[:half]
        elif fault == "flip":
            data = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        step = 1 + len(data) // 20 if fault == "slow" else max(1, len(data))
        end = half if fault in ("cut", "reset", "silent") else len(data)
        for start in range(0, end, step):
            self.wfile.write(data[start : min(end, start + step)])
            time.sleep(0.0005 if fault == "slow" else 0)
        if fault == "silent":
            self.server.gave_up |= not self.server.closing.wait(10)
        if fault == "reset":
            # Closing without lingering sends a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        self.close_connection = fault in ("cut", "reset", "silent")


@cache
def shard_files() -> dict[str, bytes]:
    """By name: three shards of some ranges each, their indexes and the manifest."""
    random = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for shard in SHARDS:
            pairs = [(random.bytes(3000 + i), f"text {i}".encode()) for i in range(6)]
            samples = [
                (f"{shard[:-4]}-{i}", {"png": p, "txt": t}) for i, (p, t) in enumerate(pairs)
            ]
            write_shard(folder / shard, samples)
        write_manifest(folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_shards(folder: Path) -> Path:
    """Those files in a new folder."""
    folder.mkdir()
    for name, data in shard_files().items():
        (folder / name).write_bytes(data)
    return folder


def serve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """A server of shards, with small ranges, short pauses and a new cache."""
    monkeypatch.setenv("OMNI_CACHE", str(folder / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "RANGE", RANGE)
    monkeypatch.setattr(transfer, "PAUSE", 0.002)
    server = FaultyServer(write_shards(folder / "served"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
    release()


def release() -> None:
    """This process uses nothing any more."""
    while remote._held:
        os.close(remote._held.popitem()[1])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(server: FaultyServer, name: str = FIRST, cache: Cache | None = None) -> bytes:
    """The bytes of a shard as its digest demands them."""
    digest = sha256(server.folder / name)
    return (cache or Cache()).fetch(f"{server.url}/{name}", sha256=digest).read_bytes()


def cached(pattern: str) -> set[str]:
    """Names of files in the cache."""
    return {path.name for path in remote.cache_folder().rglob(pattern)}


def leftovers() -> list[Path]:
    """What is in the cache beside whole objects and locks."""
    return list(remote.cache_folder().rglob("*.partial"))


def wait_until(holds: Callable[[], bool]) -> None:
    """Returns when it holds; long after it should, fails."""
    for _ in range(6000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError("waited in vain")
