"""How fast an index finds, and how much of what a look at all vectors finds.

Random vectors have no structure that could help: no data set is harder.
"""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omni.progress import track
from omni.search.index import LARGE, Entry, Index
from omni.search.neighbours import exact

QUERIES, ROUNDS, ANSWERS = 100, 5, 10
BLOCK = 4096


def run(count: int, width: int) -> None:
    """Prints times, recall@10 and memory; the best of `ROUNDS` rounds counts for the times.

    The disk needs room for the vectors and a third more. Raises `ValueError`.
    """
    if count < ANSWERS or width < 1:
        raise ValueError(f"an index needs {ANSWERS} vectors of 1 number, got {count} of {width}")
    with tempfile.TemporaryDirectory() as folder:
        index = Index.create(Path(folder) / "index", width, "random")
        added, _ = _timed(lambda: index.add(_entries(count, width)))
        made, there = _timed(lambda: index.optimize(lambda blocks: track(blocks, "codes")))
        codes = sum(path.stat().st_size for path in index.folder.glob("*.faiss"))
        print(f"vectors             {count:,} of {width} numbers, random")
        print(f"added               {added:.0f} s")
        print(f"codes               {made:.0f} s, {codes / 1e6:.0f} MB" if there else
              f"codes               none: fewer than {LARGE:,} vectors")  # fmt: skip
        _measure("all of them", index, (), np.arange(count))
        _measure("one in ten, a sense", index, ("text",), np.arange(0, count, 10))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"memory              {peak:.0f} MB at most, the pages that were read included")


def _measure(name: str, index: Index, senses: tuple[str, ...], rows: Int[np.ndarray, "R"]) -> None:
    """Recall and times of single queries among the vectors of some senses, which are `rows`."""
    queries = _unit(QUERIES, index.width, np.random.default_rng(1))
    best = exact(queries, index.matrix.view(index.catalogue.rows), ANSWERS, rows)[1].tolist()
    spent = np.empty((ROUNDS, QUERIES, 2))
    found: list[set[int]] = []
    for i in track(range(ROUNDS), name):
        for j, query in enumerate(queries):
            start, busy = time.perf_counter(), time.process_time()
            (hits,) = index.search(query[None], ANSWERS, senses)
            spent[i, j] = time.perf_counter() - start, time.process_time() - busy
            found.append({int(hit.name) for hit in hits})
    recall = np.mean([len(a & {*b}) / len(b) for a, b in zip(found, best * ROUNDS, strict=True)])
    middle, most = np.percentile(1e3 * spent, (50, 99), axis=1).min(1)
    print(f"{name:<20}recall@{ANSWERS} {recall:.3f}; a query: p50 {middle[0]:.1f} ms, "
          f"p99 {most[0]:.1f} ms, {middle[1]:.1f} ms of processor")  # fmt: skip


def _timed(do: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = do()
    return time.perf_counter() - start, found


def _unit(count: int, width: int, draws: np.random.Generator) -> Float[np.ndarray, "N D"]:
    vectors = draws.standard_normal((count, width), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _entries(count: int, width: int) -> Iterator[Entry]:
    """Pictures, and in every tenth place a text."""
    draws = np.random.default_rng(0)
    for start in track(range(0, count, BLOCK), "adding"):
        vectors = _unit(min(BLOCK, count - start), width, draws)
        for number, vector in enumerate(vectors, start):
            yield Entry(str(number), {"text" if number % 10 == 0 else "image": vector})
