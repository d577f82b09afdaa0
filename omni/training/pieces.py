"""Slices of tensors in safetensors files: each rank writes its own, any other cut is read.

The header of a file says of every slice in it the shape of the whole and where the slice begins.
"""

import json
import math
import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

MAX_HEADER_BYTES = 16 << 20
KEY = "pieces"  # of the header's metadata


@dataclass(frozen=True)
class Piece:
    """A slice of a tensor: its values, the shape of the whole, where in the whole it begins."""

    data: Tensor
    shape: tuple[int, ...]
    offset: tuple[int, ...]

    @classmethod
    def whole(cls, data: Tensor) -> "Piece":
        """A tensor that is not cut."""
        return cls(data, tuple(data.shape), (0,) * data.ndim)


def write_pieces(path: Path, pieces: dict[str, Piece]) -> None:
    """One file with the slices under the names of their tensors."""
    places = {name: [piece.shape, piece.offset] for name, piece in pieces.items()}
    save_file({k: p.data.contiguous() for k, p in pieces.items()}, path, {KEY: json.dumps(places)})


class Reader:
    """The tensors of a folder, put together from the slices in those of its files that match.

    `shapes`: of each tensor, by name. Only what is asked for is read. Raises `ValueError` for a
    file that is no safetensors file, and for slices that contradict each other or their tensor.
    """

    def __init__(self, folder: Path, pattern: str = "training-*.safetensors") -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._folder = folder
        self._slices: dict[str, list[tuple[tuple[int, ...], Any]]] = {}  # offset, stored slice
        for path in sorted(folder.glob(pattern)):
            self._add(path)

    def _add(self, path: Path) -> None:
        file, places = _open(path)
        for name in file.keys():  # noqa: SIM118  not a dict
            stored = file.get_slice(name)
            size = tuple(stored.get_shape())
            shape, offset = _place(f"{path}: {name!r}", size, places.get(name))
            others = self._slices.setdefault(name, [])
            if self.shapes.setdefault(name, shape) != shape:
                known = self.shapes[name]
                raise ValueError(f"{path}: the whole of {name!r} is {shape}, elsewhere {known}")
            if others and others[0][1].get_dtype() != stored.get_dtype():
                raise ValueError(f"{path}: {name!r} is of another type than elsewhere")
            others.append((offset, stored))

    def read(
        self, name: str, offset: Sequence[int] | None = None, size: Sequence[int] | None = None
    ) -> Tensor:
        """The slice of `size` that begins at `offset`; without them, the whole.

        Raises `ValueError` naming the tensor when the files do not hold all of it.
        """
        if name not in self.shapes:
            raise ValueError(f"{self._folder} holds no tensor {name!r}")
        shape = self.shapes[name]
        start = tuple(offset) if offset is not None else (0,) * len(shape)
        size = tuple(size) if size is not None else shape
        if not _fits(start, size, shape):
            raise ValueError(f"{name!r} is {shape}: no slice of {size} begins at {start}")
        boxes = []
        for begin, stored in self._slices[name]:
            low = [max(a, b) for a, b in zip(start, begin, strict=True)]
            ends = zip(start, size, begin, stored.get_shape(), strict=True)
            high = [min(a + n, b + m) for a, n, b, m in ends]
            if all(map(operator.lt, low, high)):
                boxes.append((_cut(low, high, begin), _cut(low, high, start), stored))
        # Where the files hold too little, nothing is allocated: a header can claim any shape.
        held = sum(math.prod(cut.stop - cut.start for cut in inner) for inner, _, _ in boxes)
        gap = ValueError(f"{self._folder} does not hold all of {name!r}, {size} at {start}")
        if held < math.prod(size):
            raise gap
        none = (slice(0, 0),) * len(shape)
        result = torch.empty(size, dtype=self._slices[name][0][1][none].dtype)
        covered = torch.zeros(size, dtype=torch.bool)
        for inner, outer, stored in boxes:
            result[outer], covered[outer] = stored[inner], True
        if not covered.all():
            raise gap
        return result


def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    """The file, mapped into memory, and the place of each slice in it."""
    try:
        with path.open("rb") as raw:
            (length,) = struct.unpack("<Q", raw.read(8).ljust(8, b"\0"))
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes, more than {MAX_HEADER_BYTES}")
        file = safe_open(path, "pt")
        places = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file of ours: {error}") from error
    if not isinstance(places, dict):
        raise ValueError(f"{path} is no safetensors file of ours: {KEY} is no table")
    return file, places


def _place(name: str, size: tuple[int, ...], claim: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of the whole and offset as a header claims them; a tensor of no claim is whole."""
    if claim is None:
        return size, (0,) * len(size)
    try:
        shape, offset = (tuple(map(operator.index, row)) for row in claim)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has no place: {claim!s:.100}") from error
    if not _fits(offset, size, shape):
        raise ValueError(f"{name}: {size} at {offset} lies not within {shape}")
    return shape, offset


def _fits(offset: tuple[int, ...], size: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if not len(offset) == len(size) == len(shape):
        return False
    rows = zip(offset, size, shape, strict=True)
    return all(o >= 0 and n >= 0 and o + n <= whole for o, n, whole in rows)


def _cut(low: list[int], high: list[int], base: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for a, b, o in zip(low, high, base, strict=True))
