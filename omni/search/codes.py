"""Short codes of vectors, all of which are looked at, where there are too many rows to multiply.

Letters: Q queries, R rows, D width, W width in whole parts, C candidates.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float, Int

from omni.search.neighbours import BLOCK

LISTS = 16
"""into which the codes are divided, so that threads share a query; every one of them is read"""
SHARED = 15
"""faiss' name for the search in which threads share the lists of a query, and keep many results"""
PART = 3
"""numbers that a code of four bits stands for: of 2 more are right, of 3 a third less is read"""
SAMPLE = 50_000
"""rows from which the centroids are learned"""


class Codes:
    """Four bits for each three numbers of the first rows of a matrix, compared in registers.

    Product quantization (doi:10.1109/TPAMI.2010.57) with look-up tables in registers
    (arXiv:1704.07355): 43 bytes for 256 numbers. A scan in order does not depend on structure,
    which random vectors have not, and finds as well what a filter leaves.
    """

    def __init__(self, index: faiss.IndexIVFPQFastScan) -> None:
        self.index = index
        self.index.nprobe, self.index.implem = index.nlist, SHARED
        self._allowed: tuple[Int[np.ndarray, "R"], faiss.IDSelector] | None = None

    @staticmethod
    def build(matrix: Float[np.ndarray, "R D"], track: Callable[[range], Iterable[int]]) -> "Codes":
        """Takes ten seconds for a million rows; `track` sees the starts of its blocks go by."""
        rows = len(matrix)
        parts = -(-matrix.shape[1] // PART)
        width = parts * PART
        lists = faiss.IndexFlatIP(width)
        index = faiss.IndexIVFPQFastScan(lists, width, LISTS, parts, 4, faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False
        sample = matrix[np.linspace(0, rows - 1, min(rows, SAMPLE), dtype=np.int64)]
        index.train(_widen(sample, width))  # pyright: ignore[reportCallIssue]
        for start in track(range(0, rows, BLOCK)):
            index.add(_widen(matrix[start : start + BLOCK], width))  # pyright: ignore[reportCallIssue]
        return Codes(index)

    @staticmethod
    def load(path: Path) -> "Codes":
        """Into memory. Raises `ValueError` for a file that holds none."""
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} holds no codes: {str(error).splitlines()[0]}") from error
        if not isinstance(index, faiss.IndexIVFPQFastScan):
            raise ValueError(
                f"{path} must hold an IndexIVFPQFastScan, has a {type(index).__name__}"
            )
        return Codes(index)

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        partial = path.with_name(f".{path.name}.partial")
        faiss.write_index(self.index, str(partial))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)

    def __len__(self) -> int:
        return self.index.ntotal

    def candidates(
        self, queries: Float[np.ndarray, "Q D"], count: int, rows: Int[np.ndarray, "R"]
    ) -> Int[np.ndarray, "Q C"]:
        """About the `count` best of some rows, as far as there are codes of them; -1 for no more.

        `rows` must be in order; the same array again costs less.
        """
        how = faiss.SearchParametersIVF(nprobe=self.index.nlist)  # pyright: ignore[reportCallIssue]
        if np.searchsorted(rows, len(self)) < len(self):
            if self._allowed is None or self._allowed[0] is not rows:
                allowed = np.zeros(len(self), bool)
                allowed[rows[rows < len(self)]] = True
                bits = np.packbits(allowed, bitorder="little")
                self._allowed = rows, faiss.IDSelectorBitmap(bits)  # pyright: ignore[reportCallIssue]
            how.sel = self._allowed[1]
        return self.index.search(_widen(queries, self.index.d), count, params=how)[1]  # pyright: ignore[reportCallIssue]


def _widen(vectors: Float[np.ndarray, "R D"], width: int) -> Float[np.ndarray, "R W"]:
    """With zeros behind."""
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))
