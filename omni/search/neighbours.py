"""The nearest rows of a matrix by dot product, exactly.

Letters: Q queries, R rows, D width, K neighbours.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

BLOCK = 1 << 16
"""rows that are looked at together: 64 MB of 256 numbers"""

Found = tuple[Float[np.ndarray, "Q K"], Int[np.ndarray, "Q K"]]
"""dot products, the highest first, and rows; what there is no more of has row -1"""


def exact(
    queries: Float[np.ndarray, "Q D"],
    matrix: Float[np.ndarray, "R D"],
    k: int,
    rows: Int[np.ndarray, "R"],
) -> Found:
    """The `k` best of some rows, all of which are looked at, block by block."""
    asked = torch.from_numpy(queries)
    scores = torch.full((len(queries), k), -torch.inf)
    places = torch.full((len(queries), k), -1)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        whole = some[-1] - some[0] + 1 == len(some)
        block = torch.from_numpy(matrix[some[0] : some[-1] + 1] if whole else matrix[some])
        known = torch.cat([scores, asked @ block.T], 1)
        at = torch.cat([places, torch.from_numpy(some).expand(len(queries), -1)], 1)
        scores, best = known.topk(k, 1)
        places = at.gather(1, best)
    return scores.numpy(), places.numpy()
