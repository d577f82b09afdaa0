"""Rows of float32 in one file, to which they are only ever added.

Letters: R rows, D width.
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float


class Matrix:
    """The vectors of an index; how many of the rows count, its catalogue knows.

    Args:
        path: of the file.
        width: D.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self.stride = 4 * width
        self._mapped = np.zeros((0, width), np.float32)

    def view(self, rows: int) -> Float[np.ndarray, "R D"]:
        """The first rows, mapped and not read. Raises `ValueError` where the file is too short."""
        if rows == len(self._mapped):
            return self._mapped
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < rows * self.stride:
            raise ValueError(
                f"{self.path} must hold {rows} rows of {self.stride} bytes, has {size} bytes"
            )
        mapped = np.memmap(self.path, np.float32, "r", shape=(rows, self.width))
        self._mapped = mapped.view(np.ndarray)  # as memmap every slice takes longer
        return self._mapped

    def append(self, rows: int, vectors: Float[np.ndarray, "R D"]) -> None:
        """Writes behind the first `rows`; what a kill has left there is written over."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        with open(descriptor, "wb") as file:
            file.seek(rows * self.stride)
            file.write(np.ascontiguousarray(vectors, np.float32).tobytes())

    def sync(self) -> None:
        """What was appended outlives the machine."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
