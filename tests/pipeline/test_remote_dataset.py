"""A data set at a URL: the one on the disk, whatever the server does."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omni.config import DataConfig
from omni.modality.text import Tokenizer
from omni.pipeline import remote
from omni.pipeline.dataset import Dataset
from omni.pipeline.loader import Loader
from omni.pipeline.remote import Cache
from omni.pipeline.writer import MANIFEST
from tests.pipeline.shards import MODEL, write_data

from .faulty_server import (
    FIRST,
    FIRST_INDEX,
    SHARDS,
    FaultyServer,
    cached,
    fetch,
    leftovers,
    serve,
    write_shards,
)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """The same shards on the disk."""
    return write_shards(tmp_path / "local")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    yield from serve(tmp_path, monkeypatch)


def members(dataset: Dataset) -> Iterator[bytes]:
    """The bytes of all members of all samples."""
    for shard in dataset.shards:
        path = shard.url
        if remote.is_remote(path):
            path = Cache().fetch(path, shard.index.tar_bytes, shard.sha256)
        data = Path(path).read_bytes()
        for row in range(len(shard.index)):
            for m in shard.index.members(row):
                yield data[m.offset : m.offset + m.size]


def assert_same(server: FaultyServer, shards: Path) -> None:
    """The data set at the server is that on the disk."""
    there, here = Dataset(server.url), Dataset(str(shards))
    assert (len(there), there.fingerprint) == (len(here), here.fingerprint)
    assert list(members(there)) == list(members(here))
    assert leftovers() == []


def test_a_data_set_at_a_url_is_the_one_on_the_disk(server: FaultyServer, shards: Path) -> None:
    assert_same(server, shards)
    asked = len(server.requests)
    assert_same(server, shards)
    assert [r.name for r in server.requests[asked:]] == [MANIFEST]  # the rest was in the cache
    assert server.count("test-000000.tar") == server.count("test-000000.idx") == 0


def test_a_data_set_from_a_faulty_server_is_the_same(server: FaultyServer, shards: Path) -> None:
    first, second = SHARDS[:2]
    faults = {
        MANIFEST: "500 cut reset slow",
        first: "500 reset cut ok short slow flip 500 500 ok reset cut ok short",
        first[:-4] + ".idx": "cut flip short reset",
        second: "slow 500 cut reset flip 500 cut short reset",
        second[:-4] + ".idx": "500 short cut reset slow",
    }
    server.faults |= {name: deque(words.split()) for name, words in faults.items()}
    server.muted |= dict.fromkeys([*SHARDS, first[:-4] + ".idx"], 3)
    server.rangeless = {second}
    assert_same(server, shards)
    assert not any(server.faults.values())


def test_an_epoch_from_a_faulty_server_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer
) -> None:
    """Bit by bit, of a run that fetches ahead while shards fail, come slowly and come wrong."""
    data = write_data(tmp_path / "data")
    config = DataConfig(path=(str(data),), batch_size=8, extra_texts=4, shuffle_shards=1)
    here = _batches(config, tokenizer)
    for server in serve(tmp_path, monkeypatch):
        server.folder = data
        names = [path.name for path in sorted(data.glob("*.tar"))]
        for name, words in zip(
            names, ("500 flip cut", "slow reset 500", "short flip"), strict=True
        ):
            server.faults[name] = deque(words.split())
        there = _batches(replace(config, path=(server.url,)), tokenizer)
        assert not any(server.faults.values())
        assert len(here) == len(there) == 8
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def _batches(config: DataConfig, tokenizer: Tokenizer) -> list[torch.Tensor]:
    """All that comes out of an epoch and more, batch by batch as one row of bytes."""
    batches = Loader(config, seed=3).batches(0, 8, tokenizer, MODEL)
    return [
        torch.cat([p.data.reshape(-1).view(torch.uint8) for p in batch.parts.values()]).clone()
        for batch in batches
    ]


@pytest.mark.parametrize("rangeless", [False, True])
def test_wrong_bytes_are_healed_by_fetching_again(server: FaultyServer, rangeless: bool) -> None:
    server.rangeless = {FIRST} if rangeless else set()
    server.faults[FIRST] = deque(["flip"] if rangeless else ["ok", "flip"])
    server.faults[FIRST_INDEX] = deque(["flip"])
    assert fetch(server) == (server.folder / FIRST).read_bytes()
    assert len(Dataset(server.url)) == 12
    assert server.count(FIRST_INDEX) == 2


@pytest.mark.parametrize("name", [FIRST, FIRST_INDEX])
def test_bytes_that_stay_wrong_are_never_handed_out(server: FaultyServer, name: str) -> None:
    server.always[name] = "flip"
    with pytest.raises(ValueError, match=rf"{server.url}/{name}: wrong bytes, twice"):
        list(members(Dataset(server.url)))
    assert not cached(name)
    assert leftovers() == []
    server.always[name] = ""
    assert len(list(members(Dataset(server.url)))) == 24


def test_shards_without_a_manifest_are_found_by_listing(server: FaultyServer, shards: Path) -> None:
    for path in server.folder.glob("*.[ij]*"):
        path.unlink()
    assert_same(server, shards)
    served = server.folder / FIRST
    served.write_bytes(served.read_bytes().replace(b"text 1", b"TEXT 1"))
    assert Dataset(server.url).fingerprint == Dataset(str(shards)).fingerprint  # it looks the same
    server.etags[FIRST] = '"2"'
    assert Dataset(server.url).fingerprint != Dataset(str(shards)).fingerprint
    assert list(members(Dataset(server.url))) != list(members(Dataset(str(shards))))


@pytest.mark.parametrize("manifest", [True, False])
def test_tars_at_a_url_are_named_by_braces_or_stars(server: FaultyServer, shards, manifest) -> None:
    if not manifest:
        for path in server.folder.glob("*.[ij]*"):
            path.unlink()
    first, second, *_ = SHARDS
    for name, count in ((first, 1), (first.replace("000000", "{000000..000001}"), 2)):
        found = Dataset(f"{server.url}/{name}").shards
        assert [shard.name for shard in found] == [first, second][:count]
    assert len(Dataset(f"{server.url}/train-*.tar")) == len(Dataset(str(shards)))
    with pytest.raises(ValueError, match=r"train-000002\.tar"):
        Dataset(f"{server.url}/train-{{000000..000009}}.tar")


def test_a_server_that_does_not_list_needs_a_manifest(server: FaultyServer) -> None:
    (server.folder / MANIFEST).unlink()
    server.lists = False
    with pytest.raises(ValueError, match=f"{server.url} has no {MANIFEST}, and cannot be listed"):
        Dataset(server.url)
    server.lists = True
    with pytest.raises(ValueError, match=r"no shards val-\*\.tar at http"):
        Dataset(server.url, "val")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("shards"),
        lambda m: m["shards"][0].pop("sha256"),
        lambda m: m["shards"][0].update(name="../a.tar"),
        lambda m: m["shards"][0].update(name="a.sh"),
        lambda m: m["shards"][0].update(bytes="1"),
        lambda m: m["shards"].append(m["shards"][0]),
    ],
)
def test_what_is_no_manifest_is_named(server: FaultyServer, change) -> None:
    manifest = json.loads((server.folder / MANIFEST).read_text())
    change(manifest)
    (server.folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"{server.url}/{MANIFEST} is no manifest of shards"):
        Dataset(server.url)


def test_a_manifest_is_fetched_anew_each_time(server: FaultyServer) -> None:
    assert len(Dataset(server.url)) == 12
    manifest = server.folder / MANIFEST
    manifest.write_text(manifest.read_text().replace("train-", "trial-"))  # of the same size
    with pytest.raises(ValueError, match="no shards train"):
        Dataset(server.url)


@pytest.mark.parametrize("change", ["index", "bytes"])
def test_an_index_of_another_shard_is_refused(server: FaultyServer, change: str) -> None:
    manifest = json.loads((server.folder / MANIFEST).read_text())
    test, train = manifest["shards"][:2]
    assert (test["name"], train["name"]) == (SHARDS[2], FIRST)
    train[change] = test[change] if change == "index" else train[change] + 512
    (server.folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"not the index that {MANIFEST} names for {FIRST}"):
        Dataset(server.url)


def test_the_tokenizer_beside_the_shards_is_taken_from_there(server: FaultyServer):
    config = DataConfig(path=(server.url,))
    assert Loader(config).find_tokenizer() is None
    learned = Loader(config).learn_tokenizer(300)
    learned.save(server.folder / "tokenizer.json")
    assert Loader(config).learn_tokenizer(400).to_json() == learned.to_json()
