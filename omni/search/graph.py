"""A graph of near neighbours, where there are too many rows to look at all of them.

Letters: Q queries, R rows, D width, K neighbours.
"""

import os
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float, Int

from omni.search.neighbours import BLOCK, Found

LINKS = 32
"""of a node of the graph (M of arXiv:1603.09320)"""
BUILD, SEARCH = 80, 256
"""candidates that are kept while the graph is built, and while it is searched"""


class Graph:
    """A graph of near neighbours (HNSW, arXiv:1603.09320) over the first rows of a matrix."""

    def __init__(self, index: faiss.Index) -> None:
        self.index = index

    @staticmethod
    def build(matrix: Float[np.ndarray, "R D"]) -> "Graph":
        """Takes minutes for a million rows, which it copies."""
        index = faiss.IndexHNSWFlat(matrix.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD
        for start in range(0, len(matrix), BLOCK):
            index.add(np.ascontiguousarray(matrix[start : start + BLOCK]))
        return Graph(index)

    @staticmethod
    def load(path: Path) -> "Graph":
        """Mapped where faiss can. Raises `ValueError` for a file that is no graph."""
        try:
            return Graph(faiss.read_index(str(path), faiss.IO_FLAG_MMAP))
        except RuntimeError as error:
            raise ValueError(f"{path} is no graph: {str(error).splitlines()[0]}") from error

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        partial = path.with_name(f".{path.name}.partial")
        faiss.write_index(self.index, str(partial))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)

    def __len__(self) -> int:
        return self.index.ntotal

    def search(
        self, queries: Float[np.ndarray, "Q D"], k: int, rows: Int[np.ndarray, "R"]
    ) -> Found:
        """About the `k` best of some of its rows."""
        ef = max(SEARCH, 2 * k)
        how = faiss.SearchParametersHNSW(efSearch=ef)  # pyright: ignore[reportAttributeAccessIssue]
        if len(rows) < len(self):
            allowed = np.zeros(len(self), bool)
            allowed[rows] = True
            bits = np.packbits(allowed, bitorder="little")
            how.sel = faiss.IDSelectorBitmap(bits)  # pyright: ignore[reportCallIssue]
        return self.index.search(queries, k, params=how)
