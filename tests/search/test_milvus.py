"""A Milvus gives what the index on disk gives."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from omni.search import Entry, Hit, Index
from omni.search.milvus import Milvus
from tests.search.test_index import WIDTH, entries, unit

pytest.importorskip("milvus_lite", reason="needs pymilvus[milvus-lite]")


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[Milvus]:
    made = Milvus.create(str(tmp_path / "milvus.db"), WIDTH, "a_model")
    yield made
    made.close()


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.create(tmp_path / "index", WIDTH, "a_model")


def found(hits: list[list[Hit]]) -> list[list[tuple]]:
    return [[(h.name, h.sense, round(h.score, 4), dict(h.meta)) for h in some] for some in hits]


def test_both_keep_the_same(milvus: Milvus, index: Index, tmp_path: Path) -> None:
    queries, new = unit(5, seed=5), unit(1, seed=7)[0]
    quoted = 'it\'s a "quotation"'
    changed = [Entry("e1", {"audio": new}, {"kind": quoted})]
    for kept in (milvus, index):
        assert kept.add(entries(200)) == 200
        assert (len(kept), kept.num_vectors()) == (200, 300)
        assert kept.add(changed) == 1 and (len(kept), kept.num_vectors()) == (200, 299)
        assert kept.delete(["e2", "e3", "e3", "nobody"]) == 2
        assert len(kept) == 198
    for senses, where in (
        ((), None), (("text",), None), ((), {"kind": 3, "of": "e"}), (("image",), {"kind": 4}),
        ((), {"kind": quoted}), ((), {"kind": 8}),
    ):  # fmt: skip
        told = [found(kept.search(queries, 7, senses, where)) for kept in (milvus, index)]
        assert told[0] == told[1]
    (hits,) = milvus.search(new[None], 1)
    assert (hits[0].name, hits[0].sense) == ("e1", "audio")
    milvus.close()
    again = Milvus.open(str(tmp_path / "milvus.db"), "a_model")
    assert len(again) == 198 and again.search(new[None], 1) == [hits]
    again.close()


def test_what_does_not_fit_is_named(milvus: Milvus, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="has length 2"):
        milvus.add([Entry("x", {"image": 2 * unit(1)[0]})])
    with pytest.raises(ValueError, match="must be \\[Q, 32\\]"):
        milvus.search(np.zeros((1, 8), np.float32))
    with pytest.raises(ValueError, match="quotation mark"):
        milvus.search(unit(1), where={'a" == 1 or "b': 1})
    with pytest.raises(ValueError, match="holds an index already"):
        Milvus.create(milvus.uri, WIDTH, "a_model")
    with pytest.raises(
        ValueError, match="holds indexes of the models a_model; wanted is that of another"
    ):
        Milvus.open(milvus.uri, "another")
    with pytest.raises(ValueError, match="milvus:nothing://: "):
        Milvus.open("nothing://")
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ValueError, match=r"needs: pip install -e '.\[milvus\]'"):
        Milvus.open(milvus.uri)
