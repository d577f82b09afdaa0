"""The nearest rows of a matrix by dot product, exactly.

Letters: Q queries, R rows, D width, K neighbours.
"""

import numpy as np
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
    """The `k` best of some rows, all of which are looked at, block by block.

    In numpy: the threads of torch and those of faiss wait for each other by spinning.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    places = np.full((len(queries), k), -1)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        whole = some[-1] - some[0] + 1 == len(some)
        block = matrix[some[0] : some[-1] + 1] if whole else matrix[some]
        known = np.concatenate([scores, queries @ block.T], 1)
        at = np.concatenate([places, np.broadcast_to(some, (len(queries), len(some)))], 1)
        best = np.argpartition(-known, k - 1, 1)[:, :k]
        scores, places = np.take_along_axis(known, best, 1), np.take_along_axis(at, best, 1)
    order = (-scores).argsort(1, kind="stable")
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
