"""Samples that are there twice: digests of 8 bytes, and hashes of how a picture looks.

The perceptual hash only proposes pairs. Drawings of one design in other colours have the same
hash, so a pair counts when small versions of both pictures agree in every pixel as well. Measured
on the sample drawings of 64 pixels: of copies saved again as JPEG, 95 % (quality 90) and 87 %
(quality 75) are found; of copies at 256, 128, 48 and 32 pixels 99, 95, 83 and 50 %. Of the 1,109
test drawings, 2 are taken for others of train (a man and a person who row a boat), and none of the
style that is nowhere else.
"""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import imagehash
import numpy as np
from PIL import Image

from omni.pipeline.decode import decode_image

DISTANCE = 4
"""bits of 64 that may differ"""
BANDS = DISTANCE + 1
"""of that many parts of two hashes so near, one part at least is equal"""
SIDE, LEVELS = 16, 32
"""pixels of the small version, and by how much of 255 its values may differ"""
EXPANDED = 1 << 20
"""pairs compared at a time"""
MIXERS = tuple(np.uint64(m) for m in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def digest(data: bytes | bytearray) -> int:
    """8 bytes of a hash as a number that is not 0, which stands for nothing."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def look(image: np.ndarray) -> int:
    """The perceptual hash of a picture [H W 3]; not 0."""
    bits = imagehash.phash(Image.fromarray(image)).hash
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "little") or 1


def mix(*columns: np.ndarray) -> np.ndarray:
    """One digest of several, row by row."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column, factor in zip(columns, MIXERS, strict=False):
        mixed += (column ^ (column >> np.uint64(29))) * factor
    return mixed


def repeated(digests: np.ndarray) -> np.ndarray:
    """The places at which a digest comes that came before; 0 is none."""
    order = np.argsort(digests, kind="stable")
    ordered = digests[order]
    again = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] != 0))
    return np.sort(order[again + 1])


def near(ours: np.ndarray, theirs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places (in `ours`, in `theirs`) of hashes at most `DISTANCE` bits apart, in blocks.

    A pair may come more than once. Hashes of 0 are left out.
    """
    mine, others = np.flatnonzero(ours), np.flatnonzero(theirs)
    edges = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in pairwise(edges):
        shift, ones = np.uint64(low), np.uint64((1 << int(high - low)) - 1)
        keys = theirs[others] >> shift & ones
        order = np.argsort(keys)
        for start in range(0, len(mine), EXPANDED):
            block = mine[start : start + EXPANDED]
            band = ours[block] >> shift & ones
            first = np.searchsorted(keys, band, "left", sorter=order)
            count = np.searchsorted(keys, band, "right", sorter=order) - first
            yield from _expand(block, others[order], first, count, ours, theirs)


def _expand(
    block: np.ndarray,
    others: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each of `block` with its `count` of `others` from `first` on, those that are near."""
    ends = np.cumsum(count)
    for start in range(0, int(ends[-1]) if len(ends) else 0, EXPANDED):
        place = np.arange(start, min(start + EXPANDED, int(ends[-1])))
        row = np.searchsorted(ends, place, "right")
        i, j = block[row], others[first[row] + place - (ends - count)[row]]
        kept = np.bitwise_count(ours[i] ^ theirs[j]) <= DISTANCE
        if kept.any():
            yield i[kept], j[kept]


def same_picture(one: bytes | bytearray, other: bytes | bytearray) -> bool:
    """Whether two files show the same, however they are stored."""
    small = [_small(decode_image(data).permute(1, 2, 0).numpy()) for data in (one, other)]
    return bool(np.abs(small[0] - small[1]).max() < LEVELS)


def _small(image: np.ndarray) -> np.ndarray:
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(resized).astype(np.int16)
