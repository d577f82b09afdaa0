"""Which samples make up the batch of a step: sources blended, lengths sorted, ranks served.

Everything follows from indexes and numbers; no byte of a sample is read here.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from omni.config import DataConfig
from omni.pipeline.dataset import Dataset, Shard
from omni.pipeline.formats import mask_of
from omni.pipeline.order import Order, Shuffle, interleave, mix, quotas

WINDOW = 8
"""batches among which samples are sorted by length"""
CYCLE = 1024
"""samples in which weighted sources have their exact shares"""
VERSION = 1


@dataclass(frozen=True)
class Pick:
    """One sample of a batch: its source, the epoch of that source, and its number there."""

    source: int
    epoch: int
    number: int
    stratum: int


class Blend:
    """Several data sets as one endless sequence; each runs its own epochs."""

    def __init__(self, orders: list[Order], weights: tuple[float, ...]) -> None:
        self.orders = orders
        self.quotas = quotas([*weights], CYCLE) if weights else [len(order) for order in orders]
        if 0 in self.quotas:
            raise ValueError(f"a weight is too small to count in {CYCLE} samples: {weights}")

    def at(self, position: np.ndarray) -> tuple[list[Pick], np.ndarray, np.ndarray]:
        """The samples of positions, a number that says source and stratum, and the streams."""
        cycle, rest = np.divmod(position, sum(self.quotas))
        source, item = interleave(rest, self.quotas)
        columns = np.zeros((4, len(position)), np.int64)
        for number, order in enumerate(self.orders):
            mine = source == number
            columns[:, mine] = order.at(cycle[mine] * self.quotas[number] + item[mine])
        epoch, number, stratum, stream = columns
        table = zip(*(c.tolist() for c in (source, epoch, number, stratum)), strict=True)
        return [Pick(*row) for row in table], source * 8 + stratum, stream

    def used(self, source: int, position: int) -> int:
        """Samples of a source before a position."""
        cycle, rest = divmod(position, sum(self.quotas))
        part, item = interleave(np.arange(rest), self.quotas)
        mine = item[part == source]
        return cycle * self.quotas[source] + (int(mine[-1]) + 1 if len(mine) else 0)


@dataclass(frozen=True)
class Share:
    """What one process takes of every step: micro-batches, each of them a *turn* of its own."""

    rank: int = 0
    world: int = 1
    parts: int = 1
    """micro-batches in a step"""

    @property
    def cuts(self) -> int:
        """Micro-batches of all processes in a step."""
        return self.world * self.parts

    def locate(self, turn: int) -> tuple[int, int, int]:
        """The step of a turn, its place among the micro-batches of that step, and their number."""
        step, part = divmod(turn, self.parts)
        return step, self.rank * self.parts + part, self.cuts


class Plan:
    """The batches of a run, as a pure function of the step.

    Raises `ValueError` for weights or requirements that do not fit the data sets.
    """

    def __init__(self, config: DataConfig, seed: int, datasets: list[Dataset]) -> None:
        self.config, self.seed, self.datasets = config, seed, datasets
        for name in ("weights", "require"):
            given = getattr(config, name)
            if given and len(given) != len(datasets):
                raise ValueError(
                    f"data.{name} must have a value for each of {len(datasets)} paths, got {given}"
                )
        if config.streams < 1 or config.batch_size < 1:
            raise ValueError("data.streams and data.batch_size must be at least 1")
        if config.language_alpha < 0:
            raise ValueError(f"data.language_alpha must not be < 0, got {config.language_alpha}")
        told = datasets if config.language_alpha else []
        self.languages = sum((dataset.languages for dataset in told), Counter[str]())
        self.blend = Blend(self._orders(seed), config.weights)
        self.texts = Blend(self._orders(int(mix(seed, 4) >> np.uint64(1))), config.weights)

    def _orders(self, seed: int) -> list[Order]:
        config = self.config
        mixing = Shuffle(config.shuffle_shards, config.streams)
        require = [mask_of(senses) for senses in config.require] or [0] * len(self.datasets)
        return [
            Order(dataset, int(mix(seed, number) >> np.uint64(1)), senses, mixing)
            for number, (dataset, senses) in enumerate(zip(self.datasets, require, strict=True))
        ]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> list[Pick]:
        """The samples of a step, or of one rank's share of it.

        Each rank has the same number; together they have the same samples for any `world`.
        """
        self._check(world)
        picks = self._window(step // WINDOW)[step % WINDOW]
        share = len(picks) // world
        return picks[rank * share : (rank + 1) * share]

    def extra(self, step: int, rank: int = 0, world: int = 1) -> list[Pick]:
        """More samples of a step, of which only the texts are taken."""
        count = self.config.extra_texts
        picks, *_ = self.texts.at(np.arange(step * count, (step + 1) * count))
        return picks[rank * count // world : (rank + 1) * count // world]

    def shards(self, start: int, stop: int, rank: int = 0, world: int = 1) -> list[Shard]:
        """The shards that the batches of some steps come from, in the order of their first use."""
        picks = (pick for step in range(start, stop) for pick in self.batch(step, rank, world))
        shards = (self.datasets[pick.source].locate(pick.number)[0] for pick in picks)
        return [*{shard.url: shard for shard in shards}.values()]

    @lru_cache(maxsize=8)  # noqa: B019 (a plan lives as long as its run)
    def _window(self, window: int) -> list[list[Pick]]:
        """The batches of a window: in each, items of all strata of about one length."""
        size = self.config.batch_size
        start = window * WINDOW * size
        picks, strata, streams = self.blend.at(np.arange(start, start + WINDOW * size))
        lengths = self._lengths(picks)
        # An item's place among those of its stratum, from 0 to 1: cutting the whole window at
        # equal places gives every batch each stratum in its proportion.
        place = np.zeros(len(picks))
        for stratum in np.unique(strata):
            mine = np.flatnonzero(strata == stratum)
            ranked = mine[np.argsort(lengths[mine], kind="stable")]
            place[ranked] = (np.arange(len(mine)) + 0.5) / len(mine)
        batches = np.argsort(place, kind="stable").reshape(WINDOW, size)
        turns = np.random.default_rng((self.seed, 3, window)).permutation(WINDOW)
        drawn = mix(self.seed, 2, start + np.arange(len(picks)))
        # Ranks take neighbours: those of a stream, and of a stream any.
        ordered = [
            batches[turn][np.lexsort((drawn[batches[turn]], streams[batches[turn]]))]
            for turn in turns
        ]
        return [[picks[i] for i in batch] for batch in ordered]

    def _lengths(self, picks: list[Pick]) -> np.ndarray:
        """Seconds of sound, or bytes of text where there is no sound."""
        sources = np.array([pick.source for pick in picks])
        numbers = np.array([pick.number for pick in picks])
        lengths = np.zeros(len(picks))
        for source, dataset in enumerate(self.datasets):
            mine = sources == source
            frames, rate, text = (
                dataset.column(name, numbers[mine]) for name in ("frames", "rate", "text")
            )
            lengths[mine] = np.where(frames > 0, frames / np.maximum(rate, 1), text)
        return lengths

    def _check(self, world: int) -> None:
        if self.config.batch_size % world:
            raise ValueError(
                f"data.batch_size must be a multiple of the processes, "
                f"got {self.config.batch_size} and {world}"
            )

    def state(self, step: int) -> dict[str, Any]:
        """Where a run is: all that is needed to go on with the next sample, anywhere."""
        rules = self.config.batch_size, self.config.shuffle_shards, self.config.streams
        return {
            "version": VERSION,
            "position": step * self.config.batch_size,
            "seed": self.seed,
            "rules": [*rules, self.config.extra_texts, *self.blend.quotas],
            "data": {f"{d.path}:{d.split}": d.fingerprint for d in self.datasets},
        }

    def restore(self, state: dict[str, Any]) -> int:
        """The step with which to go on. Raises `ValueError`, naming what is not as it was."""
        own = self.state(0)
        for name, fingerprint in state["data"].items():
            if own["data"].get(name, fingerprint) != fingerprint:
                raise ValueError(f"data set {name!r} has changed since the checkpoint was written")
        for field in ("version", "seed", "rules"):
            if state[field] != own[field]:
                raise ValueError(
                    f"{field} of the order of samples must be {state[field]}, as it was, to go on "
                    f"exactly; got {own[field]}"
                )
        if [*state["data"]] != [*own["data"]]:
            raise ValueError(f"the run was trained on {[*state['data']]}, got {[*own['data']]}")
        return state["position"] // self.config.batch_size
