"""Requests over real sockets: what passes is waited out, what does not is named at once."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import fsspec
import fsspec.config
import numpy as np
import pytest

from omni.pipeline import transfer
from omni.pipeline.remote import Cache
from omni.pipeline.transfer import MissingError

from .faulty_server import FIRST, FaultyServer, fetch, serve


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    yield from serve(tmp_path, monkeypatch)


@pytest.mark.parametrize("fault", ["500", "429", "reset", "cut", "short", "slow", "silent"])
@pytest.mark.parametrize("rangeless", [False, True])
def test_a_fault_that_passes_is_waited_out(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, fault: str, rangeless: bool
) -> None:
    monkeypatch.setattr(transfer, "SILENCE", 0.2)
    server.rangeless = {FIRST} if rangeless else set()
    server.faults[FIRST] = deque(["ok", fault, fault])
    assert fetch(server) == (server.folder / FIRST).read_bytes()
    assert not server.faults[FIRST]
    assert not server.gave_up
    assert len(server.ranges(FIRST)) > 3 or rangeless


@pytest.mark.parametrize("fault", ["500", "reset", "cut"])
def test_a_fault_that_stays_is_an_error_that_names_the_url(
    server: FaultyServer, fault: str
) -> None:
    server.always[FIRST] = fault
    with pytest.raises(OSError, match=rf"{server.url}/{FIRST} could not be fetched in 5 tries"):
        fetch(server)
    assert server.count(FIRST) == 5
    server.always[FIRST] = ""
    assert fetch(server) == (server.folder / FIRST).read_bytes()


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(
        OSError, match=r"http://127.0.0.1:9/a.tar could not be fetched .* Cannot connect"
    ):
        Cache(tmp_path).fetch("http://127.0.0.1:9/a.tar", sha256="0")


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for _ in range(20):
        with pytest.raises(OSError, match="http://a could not be fetched"):
            transfer.retry("http://a", lambda: (_ for _ in ()).throw(ConnectionResetError()))
    table = np.array(pauses).reshape(20, transfer.TRIES - 1) / transfer.PAUSE
    assert (table.min(0) >= 0.5 * 2.0 ** np.arange(4)).all()
    assert (table.max(0) <= 1.5 * 2.0 ** np.arange(4)).all()
    assert len(set(pauses)) > 70


def test_what_is_not_there_is_named_at_once(server: FaultyServer) -> None:
    with pytest.raises(MissingError, match=f"there is nothing at {server.url}/nothing.tar"):
        Cache().fetch(f"{server.url}/nothing.tar", sha256="0" * 64)
    assert server.count("nothing.tar", "HEAD") == server.count("nothing.tar") == 1  # one question


def test_what_is_forbidden_is_named_at_once(server: FaultyServer) -> None:
    server.always[FIRST] = "403"
    with pytest.raises(ValueError, match=rf"{server.url}/{FIRST} may not be had: .*403"):
        fetch(server)
    assert server.count(FIRST) == 1


@pytest.mark.parametrize(("scheme", "package"), transfer.SCHEMES.items())
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install it")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(ValueError, match=rf"{scheme}:// needs a package .*: pip install {package}"):
        transfer.describe(f"{scheme}://a/b")


def test_a_listing_is_what_is_there_now(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of itself, fsspec remembers listings of s3, gs and hf, and of http only where it is told to.
    monkeypatch.setitem(fsspec.config.conf, "http", {"use_listings_cache": True})
    names = transfer.list_names(server.url)
    assert names == sorted(path.name for path in server.folder.iterdir())
    (server.folder / "new.tar").touch()
    assert set(transfer.list_names(server.url)) == {*names, "new.tar"}
