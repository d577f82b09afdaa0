"""What is wanted comes in its order, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from omni.pipeline import remote
from omni.pipeline.prefetch import Prefetcher
from omni.pipeline.remote import Cache
from omni.pipeline.writer import MANIFEST

from .faulty_server import SHARDS, FaultyServer, fetch, serve, sha256, wait_until


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    yield from serve(tmp_path, monkeypatch)


def test_shards_are_fetched_ahead_in_their_order(server: FaultyServer) -> None:
    cache = Cache()
    prefetcher = Prefetcher(cache)
    jobs = [(f"{server.url}/{n}", None, sha256(server.folder / n)) for n in SHARDS]
    prefetcher.want([(f"{server.url}/nothing.tar", None, "0" * 64), *jobs])
    wait_until(lambda: len(remote._held) == 3)
    asked = [r.name for r in server.requests if r.name in SHARDS]
    assert list(dict.fromkeys(asked)) == list(SHARDS)
    for name in SHARDS:
        assert fetch(server, name, cache) == (server.folder / name).read_bytes()
    assert len([r for r in server.requests if r.name in SHARDS]) == len(asked)
    prefetcher.close()
    prefetcher.want([(f"{server.url}/{MANIFEST}", None, "0" * 64)])
    assert server.count(MANIFEST, "HEAD") == 0
