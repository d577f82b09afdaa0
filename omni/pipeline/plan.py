"""Which samples make up the batch of a step: sources blended, lengths sorted, ranks served.

Everything follows from indexes and numbers; no byte of a sample is read here.
"""

from collections import Counter
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from omni.config import ABSENT, DROP, DataConfig
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


def few_samples(count: int, batch_size: int) -> str:
    """Return what is wrong with a data set that is smaller than a batch, and the remedy; or ""."""
    if count >= batch_size:
        return ""
    if count == 0:
        return "there are no samples"
    return (
        f"{count} samples are fewer than a batch of {batch_size}, which holds some of them twice: "
        f"take --data.batch-size {count} or less, or more data"
    )


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


@dataclass(frozen=True)
class Stage:
    """Steps of a run that had batches of one size, before it went on with another."""

    steps: int
    batch_size: int
    extra_texts: int


@dataclass(frozen=True)
class Queue:
    """Positions of the blend that have not come yet: some that a cut window left, and all later."""

    left: np.ndarray
    rest: int

    def take(self, count: int) -> np.ndarray:
        """The next so many."""
        left = self.left[:count]
        return np.concatenate([left, np.arange(self.rest, self.rest + count - len(left))])

    def after(self, count: int) -> "Queue":
        """What remains when they have come."""
        return Queue(self.left[count:], self.rest + max(0, count - len(self.left)))


class Plan:
    """The batches of a run, as a pure function of the step, and of earlier sizes of its batches.

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
        if config.damaged not in (ABSENT, DROP):
            raise ValueError(f"data.damaged must be {ABSENT} or {DROP}, got {config.damaged!r}")
        if config.language_alpha < 0:
            raise ValueError(f"data.language_alpha must not be < 0, got {config.language_alpha}")
        told = datasets if config.language_alpha else []
        self.languages = sum((dataset.languages for dataset in told), Counter[str]())
        self.blend = Blend(self._orders(seed), config.weights)
        self.texts = Blend(self._orders(int(mix(seed, 4) >> np.uint64(1))), config.weights)
        self._begin([])

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
        window, place = divmod(step - self.first_step, WINDOW)
        picks = self._window(window)[place]
        share = len(picks) // world
        return picks[rank * share : (rank + 1) * share]

    def extra(self, step: int, rank: int = 0, world: int = 1) -> list[Pick]:
        """More samples of a step, of which only the texts are taken."""
        count = self.config.extra_texts
        start = self.first_text + (step - self.first_step) * count
        picks, *_ = self.texts.at(np.arange(start, start + count))
        return picks[rank * count // world : (rank + 1) * count // world]

    def shards(self, start: int, stop: int, rank: int = 0, world: int = 1) -> list[Shard]:
        """The shards that the batches of some steps come from, in the order of their first use."""
        picks = (pick for step in range(start, stop) for pick in self.batch(step, rank, world))
        shards = (self.datasets[pick.source].locate(pick.number)[0] for pick in picks)
        return [*{shard.url: shard for shard in shards}.values()]

    def outstanding(self, step: int) -> tuple[int, list[Pick]]:
        """Before the window of a step: the position before which all samples came, but these."""
        queue = self.queue.after(self._window_of(step) * WINDOW * self.config.batch_size)
        return queue.rest, self.blend.at(queue.left)[0]

    def opens_window(self, step: int) -> bool:
        """Whether a step is the first of its window."""
        return (step - self.first_step) % WINDOW == 0

    def window_start(self, step: int) -> int:
        """The first step of the window of a step."""
        return self.first_step + self._window_of(step) * WINDOW

    def _window_of(self, step: int) -> int:
        return (step - self.first_step) // WINDOW

    def _begin(self, history: list[Stage]) -> None:
        """Goes on after stages of other sizes, with every sample that has not come in them."""
        self.history, self.queue = history, Queue(np.zeros(0, np.int64), 0)
        self.first_step = sum(stage.steps for stage in history)
        self.first_position = sum(stage.steps * stage.batch_size for stage in history)
        self.first_text = sum(stage.steps * stage.extra_texts for stage in history)
        for number, stage in enumerate(history):
            window, done = divmod(stage.steps, WINDOW)
            size = WINDOW * stage.batch_size
            self.queue = self.queue.after(window * size)
            if done:
                positions = self.queue.take(size)
                _, batches = self._sort(positions, number, window)
                left = positions[np.sort(np.concatenate(batches[done:]))]
                rest = self.queue.after(size)
                self.queue = Queue(np.concatenate([left, rest.left]), rest.rest)

    @lru_cache(maxsize=8)  # noqa: B019 (a plan lives as long as its run)
    def _window(self, window: int) -> list[list[Pick]]:
        """The batches of a window: in each, items of all strata of about one length."""
        size = WINDOW * self.config.batch_size
        positions = self.queue.after(window * size).take(size)
        picks, batches = self._sort(positions, len(self.history), window)
        return [[picks[i] for i in batch] for batch in batches]

    def _sort(
        self, positions: np.ndarray, stage: int, window: int
    ) -> tuple[list[Pick], list[np.ndarray]]:
        """The samples of a window, and which of them each of its batches holds."""
        picks, strata, streams = self.blend.at(positions)
        lengths = self._lengths(picks)
        # An item's place among those of its stratum, from 0 to 1: cutting the whole window at
        # equal places gives every batch each stratum in its proportion.
        place = np.zeros(len(picks))
        for stratum in np.unique(strata):
            mine = np.flatnonzero(strata == stratum)
            ranked = mine[np.argsort(lengths[mine], kind="stable")]
            place[ranked] = (np.arange(len(mine)) + 0.5) / len(mine)
        batches = np.argsort(place, kind="stable").reshape(WINDOW, -1)
        key = (self.seed, 3, window, stage) if stage else (self.seed, 3, window)
        turns = np.random.default_rng(key).permutation(WINDOW)
        drawn = mix(self.seed, 2, positions)
        # Ranks take neighbours: those of a stream, and of a stream any.
        ordered = [
            batches[turn][np.lexsort((drawn[batches[turn]], streams[batches[turn]]))]
            for turn in turns
        ]
        return picks, ordered

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
        config = self.config
        state = {
            "version": VERSION,
            "position": self.first_position + (step - self.first_step) * config.batch_size,
            "seed": self.seed,
            "rules": [
                config.batch_size,
                config.shuffle_shards,
                config.streams,
                config.extra_texts,
                *self.blend.quotas,
            ],
            "data": {f"{d.path}:{d.split}": d.fingerprint for d in self.datasets},
        }
        if self.history:
            state["history"] = [astuple(stage) for stage in self.history]
        return state

    def restore(self, state: dict[str, Any], changed: bool = False) -> int:
        """The step with which to go on.

        `changed`: though data or rules are not as they were; with batches of another size it goes
        on with the samples that have not come. Raises `ValueError`, naming what has changed, else.
        """
        if not changed:
            self._compare(state)
        history = [Stage(*sizes) for sizes in state.get("history", [])]
        position = state["position"] - sum(stage.steps * stage.batch_size for stage in history)
        batch_size, _, _, extra_texts, *_ = state["rules"]
        steps = position // batch_size
        if (batch_size, extra_texts) != (self.config.batch_size, self.config.extra_texts):
            history.append(Stage(steps, batch_size, extra_texts))
            steps = 0
        self._begin(history)
        self._window.cache_clear()
        return self.first_step + steps

    def _compare(self, state: dict[str, Any]) -> None:
        """Raises `ValueError` unless data and rules are those of a state."""
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
