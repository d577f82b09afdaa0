"""An index: items that have vectors, found by vectors.

Letters: Q queries, D width.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from omni.batch import SENSES
from omni.search.catalogue import Catalogue
from omni.search.matrix import Matrix
from omni.search.neighbours import Found, exact

if TYPE_CHECKING:
    from omni.search.codes import Codes

CATALOGUE, MATRIX = "catalogue.db", "vectors.f32"
LARGE = 200_000
"""rows from which codes are worth their file: fewer are looked at in some 10 ms"""
FEW = 20_000
"""rows that are looked at exactly, where a filter leaves no more"""
CANDIDATES = 1400, 20
"""that the codes propose: at least, and for each answer"""
UNIT = 1e-3
"""how far from 1 the length of a vector may be"""
TOGETHER = 4096
"""items that are written at once"""


@dataclass(frozen=True)
class Entry:
    """What is put into an index: a name that is its own, a unit vector a sense, metadata."""

    name: str
    vectors: Mapping[str, Float[np.ndarray, "D"]]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """What is found: the item, the sense whose vector is near, and the dot product."""

    id: int
    name: str
    sense: str
    score: float
    meta: Mapping[str, Any]


class Index:
    """The index in a folder, as it was when it was opened or last changed here.

    Any number of processes may read while one writes.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.folder, self.catalogue = folder, catalogue
        self.width, self.model = int(catalogue.about("width")), catalogue.about("model")
        self.matrix = Matrix(folder / MATRIX, self.width)
        self._state: tuple[int, int] | None = None
        self._allowed: dict[frozenset[str], Int[np.ndarray, "R"]] = {}
        """in this state of the catalogue, rows of some senses, of all for none"""
        self._codes: Codes | None = None

    @staticmethod
    def create(folder: Path, width: int, model: str) -> "Index":
        """An empty one. Raises `ValueError` where there is one.

        `model` says what makes its vectors; those of another cannot be compared.
        """
        _check_absent(folder)
        folder.mkdir(parents=True, exist_ok=True)
        about = {"width": str(width), "model": model}
        return Index(folder, Catalogue(folder / CATALOGUE, about))

    @staticmethod
    def build(
        folder: Path, width: int, model: str, entries: Iterable[Entry]
    ) -> tuple["Index", int]:
        """Make one of these entries, whole or not at all; returns it, and how many they were.

        Raises `ValueError` where there is one, and for no entries.
        """
        _check_absent(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as beside:
            with closing(Index.create(Path(beside), width, model)) as partial:
                count = partial.add(entries)
            if count == 0:
                raise ValueError(f"{folder}: there is nothing to make an index of")
            _check_absent(folder)
            for name in (MATRIX, CATALOGUE):  # whoever sees the catalogue sees it all
                (Path(beside) / name).replace(folder / name)
        return Index.open(folder), count

    @staticmethod
    def open(folder: Path, model: str | None = None) -> "Index":
        """The one in a folder. Raises `ValueError` where there is none, or of another model."""
        index = Index(folder, Catalogue(folder / CATALOGUE))
        if model is not None and model != index.model:
            raise ValueError(f"{folder} holds vectors of model {index.model}, not of {model}")
        return index

    def __len__(self) -> int:
        """Items."""
        return len(self.catalogue)

    def num_vectors(self) -> int:
        """Of all items."""
        return self.catalogue.num_vectors()

    def add(self, entries: Iterable[Entry]) -> int:
        """Puts in all of them, or none; how many. One whose name is there takes its place and id.

        Raises `ValueError` for a vector that is not as said, and for an item without any.
        """
        count = 0
        with self.catalogue.change():
            rows, left = self.catalogue.rows, iter(entries)
            while some := [*islice(left, TOGETHER)]:
                for entry in some:
                    check(entry, self.width)
                    places = range(rows, rows := rows + len(entry.vectors))
                    senses = dict(zip(entry.vectors, places, strict=True))
                    self.catalogue.put(entry.name, entry.meta, senses)
                vectors = np.stack([v for entry in some for v in entry.vectors.values()])
                self.matrix.append(rows - len(vectors), vectors)
                count += len(some)
            self.matrix.sync()
            self.catalogue.set_rows(rows)
        return count

    def delete(self, names: Iterable[str]) -> int:
        """Forgets the items of these names; how many there were. Their rows stay in the file."""
        with self.catalogue.change():
            return self.catalogue.delete(names)

    def search(
        self,
        queries: Float[np.ndarray, "Q D"],
        k: int = 10,
        senses: Sequence[str] = (),
        where: Mapping[str, str | int | float] | None = None,
    ) -> list[list[Hit]]:
        """The `k` items nearest to each query, by the best of their vectors, best first.

        `senses`: of the vectors that are looked at, none for all; `where`: metadata that an item
        must have. Raises `ValueError` for queries that do not fit.
        """
        queries = check_queries(queries, self.width, k)
        rows = self.catalogue.allowed(senses, where) if where else self._rows(senses)
        # An item is found by each of its vectors: so many rows hold k items at least.
        scores, places = self._nearest(queries, k * max(1, len(senses or SENSES)), rows)
        about = self.catalogue.describe([row for row in np.unique(places).tolist() if row >= 0])
        return [
            _hits(zip(some, at, strict=True), about, k)
            for some, at in zip(scores.tolist(), places.tolist(), strict=True)
        ]

    def optimize(self, track: Callable[[range], Iterable[int]] = iter) -> bool:
        """Makes the codes anew, of all rows, where there are many; whether it did.

        `track` sees the work go by, block by block.
        """
        rows = self.catalogue.rows
        if rows < LARGE:
            return False
        older = [*self.folder.glob("*.faiss")]
        path = self.folder / f"codes-{rows}.faiss"
        _codes().build(self.matrix.view(rows), track).save(path)
        for other in older:
            if other != path:
                other.unlink()
        return True

    def close(self) -> None:
        """Gives its files back."""
        self.catalogue.close()

    def _rows(self, senses: Sequence[str]) -> Int[np.ndarray, "R"]:
        """All rows of items, or of some of their senses; read again only after a change."""
        state = self.catalogue.state()
        if self._state != state:
            self._state, self._allowed = state, {}
        wanted = frozenset(senses)
        if wanted not in self._allowed:
            self._allowed[wanted] = self.catalogue.allowed([*wanted])
        return self._allowed[wanted]

    def _nearest(
        self, queries: Float[np.ndarray, "Q D"], k: int, rows: Int[np.ndarray, "R"]
    ) -> Found:
        """The best of some rows: of many, those that the codes propose and those without codes."""
        matrix = self.matrix.view(self.catalogue.rows)
        codes = self._newest_codes() if len(rows) > FEW else None
        if codes is None:
            return exact(queries, matrix, k, rows)
        least, each = CANDIDATES
        proposed = np.sort(codes.candidates(queries, max(least, each * k), rows), 1)
        late = rows[np.searchsorted(rows, len(codes)) :]
        looked = [
            exact(query[None], matrix, k, np.concatenate([some[some >= 0], late]))
            for query, some in zip(queries, proposed, strict=True)
        ]
        scores, places = map(np.concatenate, zip(*looked, strict=True))
        return scores, places

    def _newest_codes(self) -> "Codes | None":
        """The codes of the most rows; those of rows that do not count are of another index."""
        found = {int(p.stem.removeprefix("codes-")): p for p in self.folder.glob("codes-*.faiss")}
        rows = max((n for n in found if n <= self.catalogue.rows), default=0)
        if rows and (self._codes is None or len(self._codes) != rows):
            self._codes = _codes().load(found[rows])
        return self._codes if rows else None


def _check_absent(folder: Path) -> None:
    if os.path.exists(folder / CATALOGUE):
        raise ValueError(f"{folder} holds an index already: add to it, or delete it")


def check(entry: Entry, width: int) -> None:
    """Raises `ValueError` for a vector that is not as said, and for an item without any."""
    if not entry.vectors:
        raise ValueError(f"item {entry.name!r} must have a vector, has none")
    for sense, vector in entry.vectors.items():
        if sense not in SENSES:
            known = ", ".join(SENSES)
            raise ValueError(f"sense of {entry.name!r} must be one of {known}, got {sense!r}")
        if vector.shape != (width,) or not abs(np.linalg.norm(vector) - 1) < UNIT:
            raise ValueError(
                f"vector {sense!r} of {entry.name!r} must be of length 1 and {width} "
                f"numbers, has length {np.linalg.norm(vector):.4g} and {vector.shape}"
            )


def check_queries(
    queries: Float[np.ndarray, "Q D"], width: int, k: int
) -> Float[np.ndarray, "Q D"]:
    """As float32 in one piece. Raises `ValueError` for queries that do not fit, or no answers."""
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != width:
        raise ValueError(f"queries must be [Q, {width}], got {list(queries.shape)}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return queries


def _codes() -> "type[Codes]":
    """Imported late: faiss, the extra `search`, is for large indexes alone."""
    try:
        from omni.search.codes import Codes
    except ImportError as error:
        told = f"{LARGE:,} vectors and more need: pip install -e '.[search]' ({error})"
        raise ValueError(told) from error
    return Codes


def _hits(found: Iterable[tuple[float, int]], about: dict, k: int) -> list[Hit]:
    hits: dict[int, Hit] = {}
    for score, row in found:
        if len(hits) < k and row in about and about[row][0] not in hits:
            item, name, sense, meta = about[row]
            hits[item] = Hit(item, name, sense, score, json.loads(meta))
    return list(hits.values())
