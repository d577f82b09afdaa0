"""An index finds what a matrix product finds, by any filter, and is whole after any kill."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from omni.search import Entry, Hit, Index, catalogue
from omni.search import index as module

WIDTH = 32


def unit(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def entries(count: int, prefix: str = "e", seed: int = 0) -> Iterator[Entry]:
    """Pictures, of which every other has a caption, of seven kinds."""
    images, texts = unit(count, seed), unit(count, seed + 1)
    for i in range(count):
        senses = {"image": images[i]} | ({"text": texts[i]} if i % 2 else {})
        yield Entry(f"{prefix}{i}", senses, {"kind": i % 7, "of": prefix})


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index.create(tmp_path / "index", WIDTH, "a model")
    assert made.add(entries(500)) == 500
    return made


def by_hand(known: list[Entry], query: np.ndarray, k: int) -> list[tuple[str, str]]:
    """Names and senses of the best, from all products."""
    found = [(float(v @ query), e.name, sense) for e in known for sense, v in e.vectors.items()]
    best: dict[str, str] = {}
    for _, name, sense in sorted(found, reverse=True):
        best.setdefault(name, sense)
    return [*best.items()][:k]


def pairs(hits: list[Hit]) -> list[tuple[str, str]]:
    return [(hit.name, hit.sense) for hit in hits]


@pytest.mark.parametrize("large", [False, True], ids=["exact", "codes"])
def test_the_best_are_those_of_all_products(index, monkeypatch, large) -> None:
    known = [*entries(500)]
    if large:
        monkeypatch.setattr(module, "LARGE", 100)
        monkeypatch.setattr(module, "FEW", 10)
        assert index.optimize()
    queries = unit(20, seed=5)
    for query, hits in zip(queries, index.search(queries, k=7), strict=True):
        assert pairs(hits) == by_hand(known, query, 7)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == pytest.approx(
            max(float(v @ query) for e in known for v in e.vectors.values()), abs=1e-6
        )
    added = [*entries(40, prefix="late", seed=9)]
    index.add(added)  # behind what the codes know
    index.delete(["e3", "e4"])
    left = [e for e in known if e.name not in ("e3", "e4")] + added
    for query, hits in zip(queries, index.search(queries, k=7), strict=True):
        assert pairs(hits) == by_hand(left, query, 7)


@pytest.mark.parametrize("large", [False, True], ids=["exact", "codes"])
def test_filters_leave_what_they_say(index, monkeypatch, large) -> None:
    if large:
        monkeypatch.setattr(module, "LARGE", 10)
        monkeypatch.setattr(module, "FEW", 10)
        index.optimize()
    known = [
        Entry(e.name, {"text": e.vectors["text"]})
        for e in entries(500)
        if "text" in e.vectors and e.meta["kind"] == 3
    ]
    query = unit(1, seed=6)
    (hits,) = index.search(query, k=5, senses=("text",), where={"kind": 3, "of": "e"})
    assert pairs(hits) == by_hand(known, query[0], 5)
    assert index.search(query, where={"kind": 8}) == [[]]
    with pytest.raises(ValueError, match="quotation mark"):
        index.search(query, where={'a" = 1 --': 1})


def test_codes_are_small_and_what_they_propose_is_enough(tmp_path, monkeypatch) -> None:
    """Of vectors without structure, where the codes alone lose some: the control."""
    monkeypatch.setattr(module, "LARGE", 10_000)
    vectors, queries = unit(30_000), unit(40, seed=5)
    made = Index.create(tmp_path / "large", WIDTH, "a model")
    made.add(Entry(str(i), {"image": v}) for i, v in enumerate(vectors))
    assert made.optimize()
    (file,) = (tmp_path / "large").glob("*.faiss")
    assert file.stat().st_size < vectors.nbytes / 4
    best = (-queries @ vectors.T).argsort(1)[:, :10].tolist()

    def recall() -> float:
        found = made.search(queries)
        names = [{int(hit.name) for hit in hits} for hits in found]
        return float(np.mean([len(a & {*b}) / 10 for a, b in zip(names, best, strict=True)]))

    assert recall() > 0.98
    monkeypatch.setattr(module, "CANDIDATES", (10, 0))
    assert recall() < 0.9
    file.write_bytes(b"no codes")
    with pytest.raises(ValueError, match="holds no codes"):
        Index.open(tmp_path / "large").search(queries)


def test_ids_stay_and_names_are_unique(index) -> None:
    vectors = unit(2, seed=7)
    before = index.search(unit(1), k=1)[0][0]
    assert before.name == "e0"
    index.add([Entry("e0", {"audio": vectors[0]}, {"kind": "new"})])
    assert len(index) == 500
    (hits,) = index.search(vectors[:1], k=1)
    assert (hits[0].id, hits[0].name, hits[0].sense) == (before.id, "e0", "audio")
    assert hits[0].meta == {"kind": "new"}
    assert index.search(unit(1), k=1)[0][0].name != "e0"  # its old vector is gone
    assert index.delete(["e0", "e0", "nobody"]) == 1
    index.add([Entry("again", {"image": vectors[1]})])
    assert index.search(vectors[1:], k=1)[0][0].id > 500  # an id is never given twice


def test_what_does_not_fit_is_named_and_nothing_is_added(index, tmp_path) -> None:
    vector = unit(1)[0]
    bad = {
        "length 2": {"image": 2 * vector},
        "32 numbers": {"image": vector[:5]},
        "sense of 'x'": {"smell": vector},
        "must have a vector": {},
        "length nan": {"image": vector * np.float32("nan")},
    }
    for told, vectors in bad.items():
        with pytest.raises(ValueError, match=told):
            index.add([Entry("good", {"text": vector}), Entry("x", vectors)])
    assert len(index) == 500
    with pytest.raises(ValueError, match="must be \\[Q, 32\\]"):
        index.search(unit(1)[:, :8])
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(unit(1), k=0)
    with pytest.raises(ValueError, match="holds an index already"):
        Index.create(tmp_path / "index", WIDTH, "a model")
    with pytest.raises(ValueError, match="of model a model, not of another"):
        Index.open(tmp_path / "index", "another")
    with pytest.raises(ValueError, match="holds no index"):
        Index.open(tmp_path)


def test_a_reader_sees_whole_changes_of_another_process(index, tmp_path, monkeypatch) -> None:
    reader = Index.open(tmp_path / "index", "a model")
    vector = unit(1, seed=8)
    assert reader.search(vector, k=1)[0][0].name != "fresh"

    monkeypatch.setattr(catalogue, "WAIT", 0.01)
    writer = Index.open(tmp_path / "index")

    def change() -> Iterator[Entry]:
        yield Entry("fresh", {"image": vector[0]})
        with pytest.raises(ValueError, match="another process is changing the index"):
            writer.delete(["e0"])
        assert reader.search(vector, k=1)[0][0].name != "fresh"  # not yet

    index.add(change())
    assert reader.search(vector, k=1)[0][0].name == "fresh"


def test_twenty_kills_leave_all_or_nothing(index, tmp_path) -> None:
    """The child adds 300 items a time and is killed wherever it is."""
    folder, query = tmp_path / "index", unit(1, seed=6)

    def add_for_ever() -> None:
        child = Index.open(folder)
        for number in range(1000):
            child.add(entries(300, prefix=f"k{os.getpid()}-{number}-", seed=number))

    fork, sizes = multiprocessing.get_context("fork"), []
    draws = np.random.default_rng(0)
    for _ in range(20):
        child = fork.Process(target=add_for_ever)
        child.start()
        time.sleep(draws.uniform(0.02, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with_kills = Index.open(folder)
        sizes.append(len(with_kills))
        assert (sizes[-1] - 500) % 300 == 0
        (hits,) = with_kills.search(query, k=3, where={"of": "e"})
        assert pairs(hits) == by_hand([*entries(500)], query[0], 3)
        rows = with_kills.catalogue.num_vectors()
        assert rows == len(with_kills) * 3 // 2 == with_kills.catalogue.rows
        with_kills.close()
    assert sizes[-1] > sizes[0] or sizes[0] > 500  # some of them got through
