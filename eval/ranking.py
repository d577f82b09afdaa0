"""Retrieval with one or several right answers to a query.

Letters in shapes: Q queries, G gallery items, D embedding width.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eval.metrics import TIE

BLOCK = 1024
"""queries at a time"""


def ranks(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    relevant: Sequence[Sequence[int]],
) -> Int[Tensor, "Q"]:
    """The rank (1 = best) of the best relevant item of each query, by dot product.

    Ties count against the query: items that are not relevant stand before those that are, unless
    they score less by more than `TIE`.
    """
    found = []
    for scores, right in _blocks(queries, gallery, relevant):
        best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        worse = (scores < best - TIE) | right
        found.append(1 + (~worse).sum(1))
    return torch.cat(found)


def average_precision(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    relevant: Sequence[Sequence[int]],
    depth: int = 10,
) -> Float[Tensor, "Q"]:
    """Precision at each relevant item of the first `depth`, over min(their number, depth).

    With one relevant item it is 1 / rank, or 0 beyond `depth`, as in DCASE's mAP@10 (Xie, Lipping
    and Virtanen, language-based audio retrieval, 2022). Ties are as in `ranks`.
    """
    found = []
    for scores, right in _blocks(queries, gallery, relevant):
        # A relevant item that ties comes after all that do.
        order = (scores - TIE * right).argsort(1, descending=True)
        hits = right.gather(1, order[:, :depth]).double()
        places = torch.arange(1, hits.shape[1] + 1)
        found.append((hits * hits.cumsum(1) / places).sum(1) / right.sum(1).clamp(max=depth))
    return torch.cat(found)


@torch.no_grad()
def _blocks(
    queries: Tensor, gallery: Tensor, relevant: Sequence[Sequence[int]]
) -> Iterator[tuple[Float[Tensor, "Q G"], Bool[Tensor, "Q G"]]]:
    """Scores, and which items are relevant, a few queries at a time."""
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK].float() @ gallery.float().T
        right = torch.zeros(scores.shape, dtype=torch.bool)
        for row, items in enumerate(relevant[start : start + BLOCK]):
            if not len(items):
                raise ValueError(f"query {start + row} must have a relevant item, has none")
            right[row, np.asarray(items)] = True
        unknown = scores.isnan()  # the worst of what is right, the best of what is not
        scores = scores.masked_fill(unknown & right, -torch.inf)
        yield scores.masked_fill(unknown & ~right, torch.inf), right
