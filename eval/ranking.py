"""Retrieval with one or several right answers a query: their positions, and figures made of them.

One rule of ties throughout: an item that is not relevant stands before a relevant one unless it
scores less by more than `TIE`. Relevant items never stand in each other's way. Vectors with NaN
score less than all others where they are relevant, and tie with all others where they are not.
Everything is exact, by dot product, on the device of the vectors, a few queries at a time.

Letters in shapes: Q queries, G gallery items, D embedding width, K items kept.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eval.metrics import Score, measure

# Scores closer than this count as ties: a matrix product rounds equal vectors differently.
TIE = 1e-6
DEPTHS = (1, 5, 10)
DEPTH = 10
"""places that mAP looks at"""
BLOCK = 2**22
"""scores held at a time: 16 MiB"""
NOWHERE = torch.iinfo(torch.long).max
"""position of an item that there is not"""


@torch.no_grad()
def positions(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    relevant: Sequence[Sequence[int]],
    depth: int = DEPTH,
    block: int = BLOCK,
) -> Int[Tensor, "Q K"]:
    """Positions (1 = first) of the `depth` best relevant items of each query, best first.

    `relevant` holds gallery indices for each query; where it has fewer than `depth`, `NOWHERE`
    follows. The k-th best has k - 1 relevant items before it and the others that tie or beat it.

    Raises:
        ValueError: a query has no relevant item, one twice, or one that is not in the gallery.
    """
    check(relevant, len(queries), len(gallery))
    gallery, found = gallery.float(), torch.full((len(queries), depth), NOWHERE)
    step = max(1, block // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step].float() @ gallery.T
        items = relevant[start : start + step]
        longest = max(map(len, items))
        padded = [[row[min(i, len(row) - 1)] for i in range(longest)] for row in items]
        places = torch.tensor(padded, device=scores.device)
        counts = torch.tensor([[len(row)] for row in items], device=scores.device)
        own = scores.gather(1, places)
        absent = torch.arange(longest, device=scores.device) >= counts
        own = own.masked_fill(absent | own.isnan(), -torch.inf)
        own = own.sort(dim=1, descending=True).values[:, :depth]
        scores.scatter_(1, places, -torch.inf)
        worse = [(scores < limit).sum(dim=1) for limit in (own - TIE).split(1, dim=1)]
        # Nothing is worse than NaN, not even the relevant items, which do not count.
        others = (len(gallery) - torch.stack(worse, dim=1)).minimum(len(gallery) - counts)
        order = torch.arange(1, own.shape[1] + 1, device=scores.device)
        place = (others + order).masked_fill(order > counts, NOWHERE)
        found[start : start + step, : own.shape[1]] = place.cpu()
    return found


def check(relevant: Sequence[Sequence[int]], num_queries: int, num_items: int) -> None:
    """Raises `ValueError`, naming the query, where `relevant` cannot be scored."""
    if len(relevant) != num_queries:
        raise ValueError(
            f"relevant must list the right items of every query, got {len(relevant)} lists for "
            f"{num_queries} queries"
        )
    for query, items in enumerate(relevant):
        if len(items) == 0:
            raise ValueError(f"query {query} has no relevant item: leave it out of the queries")
        if len(set(items)) < len(items):
            raise ValueError(f"query {query} has a relevant item twice, got {list(items)}")
        if min(items) < 0 or max(items) >= num_items:
            raise ValueError(
                f"relevant items of query {query} must be in a gallery of {num_items}, "
                f"got {list(items)}"
            )


def ranks(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    relevant: Sequence[Sequence[int]],
    block: int = BLOCK,
) -> Int[Tensor, "Q"]:
    """Position of the best relevant item of each query; see `positions`.

    A constant embedding is thereby ranked last everywhere, as is one with NaN.
    """
    return positions(queries, gallery, relevant, 1, block)[:, 0]


def average_precision(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    relevant: Sequence[Sequence[int]],
    depth: int = DEPTH,
) -> Float[Tensor, "Q"]:
    """AP@depth of each query; see `precision`."""
    return precision(positions(queries, gallery, relevant, depth), relevant)


def precision(found: Int[Tensor, "Q K"], relevant: Sequence[Sequence[int]]) -> Float[Tensor, "Q"]:
    """AP@K from the positions of the K best: mean precision at the relevant ones of K places.

    The sum over relevant items at positions p <= K of (relevant items up to p) / p, divided by
    min(number of relevant items, K), so that a perfect list scores 1. With one relevant item a
    query, as in DCASE's language-based audio retrieval (Xie, Lipping and Virtanen, DCASE 2022,
    subtask 6B, mAP@10), it is 1 / p. trec_eval's `map_cut` divides by the number of relevant items
    even where that is more than K; torchmetrics divides by the number that was found.
    """
    depth = found.shape[1]
    shares = (torch.arange(1, depth + 1) / found.double()).masked_fill(found > depth, 0)
    return shares.sum(dim=1) / torch.tensor([min(len(items), depth) for items in relevant])


def figures(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    relevant: Sequence[Sequence[int]],
    seed: int,
    protocol: str = "",
) -> Iterator[tuple[str, Score]]:
    """The figures of `counted` for all queries in one gallery."""
    found = positions(queries, gallery, relevant)
    precisions = precision(found, relevant).numpy()
    yield from counted(found[:, 0].numpy(), precisions, len(gallery), seed, protocol)


def counted(
    best: Int[np.ndarray, "Q"],
    precisions: Float[np.ndarray, "Q"],
    gallery: int,
    seed: int,
    protocol: str = "",
    groups: Int[np.ndarray, "Q"] | None = None,
) -> Iterator[tuple[str, Score]]:
    """R@1, R@5, R@10, their mean, median rank and mAP@10, each with its interval over queries.

    Args:
        best: rank of each query's best relevant item (`ranks`).
        precisions: AP@10 of each query (`precision`).
        gallery: items to choose from.
        groups: what each query is of, where several are of one thing.

    R@k is hit rate: any relevant item among the first k, as in Karpathy and Fei-Fei
    (arXiv:1412.2306) and CLIP (arXiv:2103.00020), not the share of all of them.
    """
    hits = best[:, None] <= np.array(DEPTHS)
    score = partial(measure, seed=seed, gallery=gallery, protocol=protocol, groups=groups)
    for k, column in zip(DEPTHS, hits.T, strict=True):
        yield f"R@{k}", score(column)
    yield "mean_recall", score(hits.mean(axis=1))
    yield "median_rank", score(best, statistic=np.median)
    yield f"mAP@{DEPTH}", score(precisions)


@torch.no_grad()
def nearest(
    queries: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"], k: int, block: int = BLOCK
) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    """Scores and indices of the `k` best gallery items for each query, best first."""
    gallery, k = gallery.float(), min(k, len(gallery))
    parts = queries.split(max(1, block // max(1, len(gallery))))
    found = [(part.float() @ gallery.T).topk(k, dim=1) for part in parts]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
