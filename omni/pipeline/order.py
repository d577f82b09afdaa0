"""The order of samples as a pure function of (seed, epoch, position): computed, never stored.

Any position of any epoch can be asked for at any time, so a loader that goes on has nothing to
replay, and the order knows neither ranks nor workers.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import senses_of

ROUNDS = 6
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(*values: int | np.ndarray) -> np.ndarray:
    """A 64-bit hash of numbers, element by element (the finalizer of splitmix64)."""
    state = np.uint64(0)
    with np.errstate(over="ignore"):
        for value in values:
            state = (state ^ np.asarray(value).astype(np.uint64)) + GOLDEN
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return np.asarray(state)


def shuffle(index: np.ndarray, count: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Where `index` goes in a random order of `count` things: a Feistel network that walks cycles.

    A bijection of 0 ... count - 1 for each key, in constant memory (Black and Rogaway 2002).
    """
    half = (np.ceil(np.log2(np.maximum(count, 2))).astype(np.uint64) + np.uint64(1)) >> np.uint64(1)
    low = (np.uint64(1) << half) - np.uint64(1)
    limit, value = np.asarray(count).astype(np.uint64), np.asarray(index).astype(np.uint64)
    limit, low, half, key, value = np.broadcast_arrays(limit, low, half, key, value)
    value, todo = value.copy(), np.arange(value.size)
    while todo.size:
        left, right = value[todo] >> half[todo], value[todo] & low[todo]
        for turn in range(ROUNDS):
            left, right = right, left ^ (mix(key[todo], turn, right) & low[todo])
        value[todo] = left << half[todo] | right
        todo = todo[value[todo] >= limit[todo]]
    return value.astype(np.int64)


def interleave(position: np.ndarray, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which part a position of the whole falls to, and which item of that part it is.

    The parts are spread evenly: any stretch of the whole holds each in its proportion, one more or
    less; over the whole, exactly `sizes`.
    """
    part, item = np.zeros(position.shape, np.int64), position.astype(np.int64)
    total, undecided = sum(sizes), np.ones(position.shape, bool)
    for number, size in enumerate(sizes[:-1]):
        before = item * size // total
        mine = undecided & ((item + 1) * size // total > before)
        part[mine] = number
        undecided &= ~mine
        item = np.where(mine, before, np.where(undecided, item - before, item))
        total -= size
    part[undecided] = len(sizes) - 1
    return part, item


def quotas(weights: list[float], cycle: int) -> list[int]:
    """`cycle` in whole parts, nearest to the proportions of `weights` (largest remainder)."""
    exact = [cycle * weight / sum(weights) for weight in weights]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: cycle - sum(parts)]:
        parts[i] += 1
    return parts


@dataclass(frozen=True)
class Shuffle:
    """How far samples are mixed.

    `shards`: so many shards are read at a time and mixed; 0 for all, which is best where any byte
    is as near as any other. `streams`: canonical streams; with few shards at a time each goes
    through its own part of an epoch, so that ranks read different shards.
    """

    shards: int = 0
    streams: int = 1


class Order:
    """The samples of one data set that have the required senses, epoch after epoch.

    Samples of different sets of senses (strata) come in their proportions throughout, so that no
    batch lacks a pair that the data has. Every epoch holds every sample once; none is dropped.
    """

    def __init__(self, dataset: Dataset, seed: int, require: int, mixing: Shuffle) -> None:
        self.dataset, self.seed, self.mixing = dataset, seed, mixing
        self.require = require
        counts = np.array([shard.counts for shard in dataset.shards])
        self.masks = [m for m in range(1, 8) if counts[:, m].any() and m & require == require]
        if not self.masks:
            senses = "+".join(senses_of(require)) or "any sense"
            raise ValueError(f"data set {dataset.name}: no sample has {senses}")
        self.counts = counts[:, self.masks]
        self.sizes = self.counts.sum(0).tolist()

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def filtered(self) -> int:
        """Samples of the data set that lack what is required."""
        return len(self.dataset) - len(self)

    def at(self, counter: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Epoch, number of the sample, stratum and stream of positions counted from the start."""
        epoch, position = np.divmod(counter, len(self))
        stratum, item = interleave(position, self.sizes)
        return epoch, self._numbers(epoch, stratum, item), stratum, item % self.mixing.streams

    def substitute(self, epoch: int, stratum: int, number: int, attempt: int) -> int:
        """Another sample of the same senses, fixed by what it stands for."""
        item = int(mix(self.seed, epoch, number, attempt) % np.uint64(self.sizes[stratum]))
        epochs, strata, items = (np.array([value]) for value in (epoch, stratum, item))
        return int(self._numbers(epochs, strata, items)[0])

    def _numbers(self, epoch: np.ndarray, stratum: np.ndarray, item: np.ndarray) -> np.ndarray:
        numbers = np.zeros(len(item), np.int64)
        for e, s in {*zip(epoch.tolist(), stratum.tolist(), strict=True)}:
            mine = np.flatnonzero((epoch == e) & (stratum == s))
            numbers[mine] = self._stratum_numbers(e, s, item[mine])
        return numbers

    def _stratum_numbers(self, epoch: int, stratum: int, item: np.ndarray) -> np.ndarray:
        """Samples of a stratum: shards in a new order every epoch, mixed a few at a time."""
        shards, ends, edges = self._line(epoch, stratum)
        total, streams = int(ends[-1]), self.mixing.streams
        stream, place = item % streams, item // streams
        start, extra = np.divmod(total, streams)
        first = stream * start + np.minimum(stream, extra)
        last = first + start + (stream < extra)
        line = first + place
        # Mixed is what lies in the same few shards and in the same stream.
        group = np.searchsorted(edges, line, "right")
        low, high = np.maximum(first, edges[group - 1]), np.minimum(last, edges[group])
        key = mix(self.seed, epoch, stratum, low)
        line = low + shuffle(line - low, high - low, key)
        at = np.searchsorted(ends, line, "right")
        rank = line - np.where(at > 0, ends[at - 1], 0)
        mask, starts = self.masks[stratum], self.dataset.starts
        pairs = zip(shards[at].tolist(), rank.tolist(), strict=True)
        return np.array([starts[s] + self.dataset.shards[s].rows(mask)[r] for s, r in pairs])

    @lru_cache(maxsize=32)  # noqa: B019 (an order lives as long as its run)
    def _line(self, epoch: int, stratum: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shards of an epoch in order, where each ends, and the edges of what is mixed."""
        count = len(self.counts)
        order = shuffle(np.arange(count), np.array(count), mix(self.seed, epoch, 7))
        ends = np.cumsum(self.counts[order, stratum])
        size = self.mixing.shards or count
        return order, ends, np.unique([0, *ends[size - 1 :: size], ends[-1]])
