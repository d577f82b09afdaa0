"""The cache: an object is fetched once, and handed out whole or not at all."""

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from omni.pipeline import remote, transfer
from omni.pipeline.remote import Cache
from omni.pipeline.writer import MANIFEST

from .faulty_server import (
    FIRST,
    RANGE,
    SHARDS,
    FaultyServer,
    cached,
    fetch,
    leftovers,
    release,
    serve,
    sha256,
    wait_until,
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    yield from serve(tmp_path, monkeypatch)


def test_a_shard_of_another_size_is_refused_at_once(server: FaultyServer) -> None:
    with pytest.raises(ValueError, match=rf"{FIRST} must have 7 bytes, it has \d+"):
        Cache().fetch(f"{server.url}/{FIRST}", 7, "0" * 64)
    assert server.count(FIRST) == 0


def leave_partial(server: FaultyServer, num_ranges: int) -> None:
    """A fetch that dies after some ranges."""
    server.faults[FIRST] = deque(["ok"] * num_ranges + ["500"] * transfer.TRIES)
    with pytest.raises(OSError, match="could not be fetched"):
        fetch(server)
    assert len(leftovers()) == 1
    server.requests.clear()


def test_a_fetch_that_died_is_resumed(server: FaultyServer) -> None:
    leave_partial(server, 2)
    data = fetch(server)
    assert data == (server.folder / FIRST).read_bytes()
    assert server.ranges(FIRST) == list(range(2 * RANGE, len(data), RANGE))


def test_a_fetch_begins_anew_where_the_object_changed(server: FaultyServer) -> None:
    leave_partial(server, 2)
    server.etags[FIRST] = '"2"'
    data = fetch(server)
    assert data == (server.folder / FIRST).read_bytes()
    assert server.ranges(FIRST) == list(range(0, len(data), RANGE))
    assert leftovers() == []


@pytest.mark.parametrize("damage", [b"x" * 100, b"x" * 100_000])
def test_a_piece_that_was_spoilt_is_thrown_away(server: FaultyServer, damage: bytes) -> None:
    leave_partial(server, 2)
    leftovers()[0].write_bytes(damage)
    assert fetch(server) == (server.folder / FIRST).read_bytes()
    assert leftovers() == []


def test_a_file_that_somebody_cut_or_removed_is_fetched_again(server: FaultyServer) -> None:
    url, size = f"{server.url}/{FIRST}", (server.folder / FIRST).stat().st_size
    digest = sha256(server.folder / FIRST)
    path = Cache().fetch(url, size, digest)
    path.write_bytes(path.read_bytes()[:-1])
    assert sha256(Cache().fetch(url, size, digest)) == digest  # while it is in use here
    path.unlink()
    assert sha256(Cache().fetch(url, size, digest)) == digest


def test_an_object_that_changes_while_it_is_fetched_is_refused(server: FaultyServer) -> None:
    url, original = f"{server.url}/{FIRST}", Cache._download

    def late(self, *arguments, **options):
        server.etags[FIRST] += "+"
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="it changed while"):
        patch.setattr(Cache, "_download", late)
        Cache().fetch(url)
    assert Cache().fetch(url).read_bytes() == (server.folder / FIRST).read_bytes()


CHILD = """
import sys
from types import ModuleType
root, url, digest = sys.argv[1:]
sys.path.insert(0, root)
package = ModuleType("omni")  # in place of the real one, that imports torch
package.__path__ = [f"{root}/omni"]
sys.modules["omni"] = package
from omni.pipeline import transfer
from omni.pipeline.remote import Cache
transfer.RANGE = 512
print("ready", flush=True)
sys.stdin.readline()
print(Cache().fetch(url, sha256=digest), flush=True)
sys.stdin.readline()
"""


def start_child(server: FaultyServer) -> subprocess.Popen[str]:
    """Another process that is ready to fetch the first shard, and then keeps it."""
    root, digest = Path(remote.__file__).parents[2], sha256(server.folder / FIRST)
    command = [sys.executable, "-c", CHILD, root, f"{server.url}/{FIRST}", digest]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    child = subprocess.Popen([str(word) for word in command], **pipes)
    return child


def tell(child: subprocess.Popen[str]) -> None:
    child.stdin.write("\n")
    child.stdin.flush()


def test_processes_and_threads_that_fetch_at_once_make_one_download(server: FaultyServer) -> None:
    server.always[FIRST] = "slow"
    data = (server.folder / FIRST).read_bytes()
    with start_child(server) as one, start_child(server) as two:
        for child in (one, two):
            assert child.stdout.readline() == "ready\n"
        for child in (one, two):
            tell(child)
        with ThreadPoolExecutor(3) as pool:
            cache = Cache()
            found = list(pool.map(lambda _: fetch(server, FIRST, cache), range(3)))
        paths = {child.stdout.readline() for child in (one, two)}
        for child in (one, two):
            tell(child)
    assert found == [data] * 3
    assert len(paths) == 1
    # Each byte was asked for once, in ranges of whichever process came first.
    step = server.ranges(FIRST)[1]
    assert server.ranges(FIRST) == list(range(0, len(data), step))


def test_a_process_that_is_killed_leaves_no_lock_and_what_it_had(server: FaultyServer) -> None:
    server.faults[FIRST] = deque(["ok"] * 20 + ["silent"])
    with start_child(server) as child:
        assert child.stdout.readline() == "ready\n"
        tell(child)
        wait_until(lambda: server.count(FIRST) == 21)
        child.kill()
    assert not cached(FIRST)
    assert fetch(server) == (server.folder / FIRST).read_bytes()
    assert server.ranges(FIRST)[21] > 0  # after what was written, of which a buffer may be lost


def test_the_cap_removes_what_was_not_used_for_longest(server: FaultyServer) -> None:
    one, two, three = SHARDS
    size = (server.folder / one).stat().st_size
    cache = Cache(max_bytes=int(2.5 * size))
    for name in (one, two, one):
        fetch(server, name, cache)
    release()
    fetch(server, three, cache)
    assert cached("*.tar") == {one, three}
    fetch(server, two, cache)  # of the two, that is older than three
    assert cached("*.tar") == {two, three}


def test_the_cap_removes_nothing_that_this_process_was_just_handed(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "HELD", 2)
    cache, seen = Cache(max_bytes=1), []
    for name in (*SHARDS, MANIFEST):
        fetch(server, name, cache)
        seen.append(cached("*.tar"))
    # The two that were handed out before the one that is fetched are in use.
    one, two, three = SHARDS
    assert seen == [{one}, {one, two}, {one, two, three}, {two, three}]


def test_the_cap_removes_nothing_that_another_process_uses(server: FaultyServer) -> None:
    cache = Cache(max_bytes=1)
    with start_child(server) as child:
        tell(child)
        assert child.stdout.readline() == "ready\n"
        path = Path(child.stdout.readline().strip())
        fetch(server, SHARDS[1], cache)
        assert path.exists()
        tell(child)
    fetch(server, SHARDS[2], cache)
    assert not path.exists()


def test_a_disk_that_is_too_small_is_named(server: FaultyServer, monkeypatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"has \d+ bytes, the disk of .* has 10 left; OMNI_CACHE"):
        fetch(server)


@pytest.mark.parametrize("path", ["/data/shards", "shards/*.tar", "pipeline/a.tar", "C:\\shards"])
def test_a_path_is_no_url(path: str) -> None:
    assert not remote.is_remote(path)


@pytest.mark.parametrize(
    "path", ["s3://a/b", "gs://a", "hf://datasets/a/b", "http://a", "https://a"]
)
def test_a_url_of_a_known_scheme_is_remote(path: str) -> None:
    assert remote.is_remote(path)


@pytest.mark.parametrize(
    "path", ["pipe:curl a", "file:///a", "memory://a", "simplecache::s3://a", "HTTP://a", "ssh://a"]
)
def test_any_other_scheme_is_refused_by_name(path: str) -> None:
    with pytest.raises(ValueError, match=r"must begin with one of s3://, gs://, hf://, http://"):
        remote.is_remote(path)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("OMNI_CACHE", str(tmp_path / "mine"))
    assert remote.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("OMNI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert remote.cache_folder() == tmp_path / "xdg" / "omni"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote.cache_folder() == tmp_path / ".cache" / "omni"


def test_a_cache_that_cannot_be_made_is_a_temporary_one(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OMNI_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = remote.cache_folder()
    assert found == tmp_path / f"omni-{os.getuid()}"
    assert found.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "omni-12345").mkdir()
    with pytest.raises(ValueError, match=r"omni-12345' belongs to another; set OMNI_CACHE"):
        remote.cache_folder()
