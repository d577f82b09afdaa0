"""Search: retrieval between all senses that packed shards have, with several right answers.

A caption is asked for once, and is found if any picture of its is; a picture finds its caption if
it finds any of them, as in Karpathy and Fei-Fei (arXiv:1412.2306, section 4.2). mAP@10 is DCASE's.
`search1k` is the protocol of COCO's 1k test: five galleries of 1,000 pictures each.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from math import comb
from typing import NamedTuple

import numpy as np

from eval.bench import Bench
from eval.embedder import Embedder
from eval.metrics import Score, exactly
from eval.protocol import Protocol
from eval.ranking import DEPTH, DEPTHS, counted, positions, precision
from eval.shards import UnfitError
from eval.sides import Side, numbered, relevant, side
from eval.tasks.retrieval import DIRECTIONS, JOINT

FOLDS, FOLD = 5, 1000
"""galleries of `search1k`, and things in each, in the order of the shards"""


class Found(NamedTuple):
    """Of each query the rank of the best right answer, AP@10, how many are right, of how many.

    `things` numbers what each is of (of several the first): they are drawn together.
    """

    ranks: np.ndarray
    precision: np.ndarray
    right: np.ndarray
    sizes: np.ndarray
    things: np.ndarray
    told: str


def search(bench: Bench) -> Iterator[tuple[str, Score]]:
    """All directions of the split in one gallery: trained, untrained and chance."""
    yield from searched(bench, "search", [range(len(numbered(bench.shards)))])


def search1k(bench: Bench) -> Iterator[tuple[str, Score]]:
    """The same in galleries of `FOLD` things. Raises `UnfitError` where there are too few."""
    if (count := len(numbered(bench.shards))) < FOLDS * FOLD:
        raise UnfitError(
            f"search1k asks for {FOLDS * FOLD:,} things, {bench.shards.path} "
            f"({bench.shards.split}) has {count:,}: take search"
        )
    parts = [range(number * FOLD, (number + 1) * FOLD) for number in range(FOLDS)]
    yield from searched(bench, "search1k", parts)


def searched(bench: Bench, task: str, parts: list[range]) -> Iterator[tuple[str, Score]]:
    """The figures of each direction that has a query with an answer."""
    bench.protocol = Protocol(task=task, references="all of the same thing; the best counts")
    sides = ({*source.split("+"), target} for source, target in (*DIRECTIONS, *JOINT))
    known = zip((*DIRECTIONS, *JOINT), sides, strict=True)
    asked = [direction for direction, senses in known if senses <= bench.model.senses]
    some = False
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        for source, target in asked:
            if (found := compared(bench, model, source, target, parts)) is None:
                continue
            some, name = True, f"{bench.shards.split}/{task}/{source}->{target}"
            size = int(found.sizes.max())
            figures = counted(
                found.ranks, found.precision, size, bench.seed, found.told, found.things
            )
            for metric, score in figures:
                yield f"{prefix}{name}/{metric}", score
            for metric, score in chance(found, bench.seed) if not prefix else ():
                yield f"chance/{name}/{metric}", score
    if not some:
        raise UnfitError(
            f"{bench.shards.path} ({bench.shards.split}) must have two senses of one thing to be "
            "searched, has none"
        )


def compared(
    bench: Bench, model: Embedder, source: str, target: str, parts: list[range]
) -> Found | None:
    """Queries of one side against another, in each part apart; None where nothing can be found."""
    asked, gallery = side(bench, model, source), side(bench, model, target)
    if asked is None or gallery is None:
        return None
    found, without = [], 0
    for things in parts:
        queries, items = asked.of(things), gallery.of(things)
        right = relevant(queries, items)
        kept = [number for number, some in enumerate(right) if some]
        without += len(right) - len(kept)
        if kept:
            right = [right[number] for number in kept]
            places = positions(queries.vectors[kept], items.vectors, right)
            sizes, counts = np.full(len(kept), len(items.things)), np.array([*map(len, right)])
            of = np.array([queries.things[number][0] for number in kept])
            best, precisions = places[:, 0].numpy(), precision(places, right).numpy()
            found.append((best, precisions, counts, sizes, of))
    if not found:
        return None
    best, precisions, counts, sizes, of = map(np.concatenate, zip(*found, strict=True))
    told = protocol(parts, counts, without, lacking(parts, gallery), target)
    if (things := len(np.unique(of))) < len(of):
        told += f"; intervals over the {things:,} things that queries are of"
    return Found(best, precisions, counts, sizes, of, told)


def lacking(parts: list[range], gallery: Side) -> int:
    """How many things have no item in the gallery."""
    there = {thing for things in gallery.things for thing in things}
    return sum(thing not in there for things in parts for thing in things)


def protocol(parts: list[range], right: np.ndarray, without: int, lack: int, target: str) -> str:
    """What is to be said of the queries and of the gallery."""
    low, high = right.min(), right.max()
    several = f"{low}" if low == high else f"{low} to {high}"
    told = [f"{several} right {'answer' if high == 1 else 'answers'} a query"]
    if lack:
        told.append(f"{lack:,} of {sum(map(len, parts)):,} things have no {target}")
    if without:
        told.append(f"{without:,} queries without answer are not asked")
    if len(parts) > 1:
        told.append(f"over the queries of {len(parts)} galleries of {len(parts[0]):,} things")
    return "; ".join(told)


def chance(found: Found, seed: int) -> Iterator[tuple[str, Score]]:
    """The same of an order drawn at random, in closed form."""
    kinds = Counter(zip(found.right.tolist(), found.sizes.tolist(), strict=True))
    size = int(found.sizes.max())
    score = partial(exactly, n=kinds.total(), gallery=size, seed=seed)

    def mean(expected: Callable[[int, int], float]) -> float:
        total = sum(count * expected(*kind) for kind, count in kinds.items())
        return total / kinds.total()

    hits = [mean(partial(hit, k)) for k in DEPTHS]
    for k, value in zip(DEPTHS, hits, strict=True):
        yield f"R@{k}", score(value)
    yield "mean_recall", score(float(np.mean(hits)))
    likely = bisect_left(range(1, size), 0.5, key=lambda k: mean(partial(hit, k)))
    yield "median_rank", score(float(likely + 1))
    yield f"mAP@{DEPTH}", score(mean(expected_precision))


def hit(k: int, right: int, size: int) -> float:
    """How likely one of the right items is among the first `k`: 1 - C(G - p, k) / C(G, k)."""
    k = min(k, size)
    return 1 - comb(size - right, k) / comb(size, k)


def expected_precision(right: int, size: int) -> float:
    """The mean of AP@10 over all orders: the item at place i is right with probability p / G.

    Where it is, so is each of the i - 1 before it with probability (p - 1) / (G - 1).
    """
    others = (right - 1) / max(size - 1, 1)
    shares = [(1 + (i - 1) * others) / i for i in range(1, min(DEPTH, size) + 1)]
    return right / size * sum(shares) / min(right, DEPTH)
