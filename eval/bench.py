"""What every task is given: the model, its untrained control, the corpus and the judges."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.classes import Classes
from eval.corpus import Corpus, Item, choose, item, noisy, picture
from eval.embedder import Embedder
from eval.fidelity import Extractor
from eval.folder import Folder
from eval.judge import SETTINGS, Judge, load_or_train
from eval.labels import Labels
from eval.protocol import Protocol
from eval.ranks import first_alone
from eval.recogniser import Recogniser
from eval.shards import Shards
from omni import Omni
from omni.batch import Sample

CONTROLS = 64
"""items that the untrained network makes a direction: enough to see that it makes nothing"""


class Answer(NamedTuple):
    """One answer: the item, what it is (by the corpus or by the judge), whether that is right."""

    item: Item
    name: str
    right: bool


@dataclass(frozen=True)
class Example:
    """One line of the report: what was asked and what came back, best first.

    `name` is the English name of what was meant, `real` what the corpus holds in that place.
    """

    task: str
    direction: str
    name: str
    query: Item
    real: Item
    answers: list[Answer]


@dataclass(frozen=True)
class Matrix:
    """A picture of the report: how dark each cell is, from 0 to 1, and what it is of."""

    task: str
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Float[np.ndarray, "R C"]


@dataclass
class Bench:
    """A model on the bench.

    Attributes:
        model: the model to measure: one that embeds at least.
        control: the same architecture and tokenizer with fresh weights.
        data: the samples, the files of a folder of classes, or packed shards of any data set.
        judges: folder in which trained judges are kept.
        seed: keys subsets, noise, sampling and bootstrap.
        limit: at most this many items are generated a direction in `draw` and `speak`.
        snr: signal-to-noise ratio in dB of the noisy speech.
        extractor: features in which FID and KID of drawn pictures are measured, if any.
        recogniser: what writes down made speech, if any.
        note: told what is going on, for a progress display.
        examples: filled by the tasks, shown by the report.
        matrices: as these.
        protocol: stated by the task that runs, of all its figures.
    """

    model: Embedder
    control: Embedder
    data: Corpus | Folder | Shards
    judges: Path
    seed: int = 0
    limit: int = 512
    snr: float = 0.0
    extractor: Extractor | None = None
    recogniser: Recogniser | None = None
    note: Callable[[str], None] = print
    examples: list[Example] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    protocol: Protocol = field(default_factory=Protocol)
    _judges: dict[str, Judge] = field(default_factory=dict)
    _vectors: dict[tuple, Tensor] = field(default_factory=dict)

    @property
    def omni(self) -> Omni:
        """The model, of one of our runs: it also writes, draws, speaks and compares."""
        assert isinstance(self.model, Omni)
        return self.model

    @property
    def fresh(self) -> Omni:
        """The control of `omni`."""
        assert isinstance(self.control, Omni)
        return self.control

    @property
    def corpus(self) -> Corpus:
        """The samples."""
        assert isinstance(self.data, Corpus)
        return self.data

    @property
    def shards(self) -> Shards:
        """The packed shards."""
        assert isinstance(self.data, Shards)
        return self.data

    @property
    def classes(self) -> Classes:
        """The items by class, of a folder or of shards."""
        return self.data if isinstance(self.data, Folder) else Labels(self.shards)

    def judge(self, sense: str) -> Judge:
        """The judge of `image` or `audio`: trained on first use, then read from `judges`."""
        if sense not in self._judges:
            settings = SETTINGS[sense]
            with first_alone():
                self._judges[sense] = load_or_train(
                    settings, self.corpus, self.judges, self.seed, self.note
                )
        return self._judges[sense]

    def item(self, sample: Sample, senses: str) -> Item:
        """The sample in `senses`, joined by +, or in "noisy audio" or "noisy audio+image"."""
        plain = senses.removeprefix("noisy ")
        if plain == senses:
            return item(sample, senses)
        speech = noisy(sample, self.snr, self.seed)
        return (speech, picture(sample)) if plain.endswith("+image") else speech

    def condition(self, senses: str) -> str:
        """What is to be said of the protocol of a source."""
        return f"white noise at {self.snr:g} dB SNR" if senses.startswith("noisy ") else ""

    def untrained(
        self, samples: list[Sample], source: str, to: str, direct: bool = False
    ) -> tuple[list[Sample], list[Any]]:
        """A few of the samples, and what the control makes from their `source`."""
        few = choose(samples, CONTROLS, self.seed)
        queries = [self.item(s, source) for s in few]
        return few, self.fresh.generate(queries, to=to, seed=self.seed, direct=direct)

    def vectors(
        self, model: Embedder, key: tuple[str, str], samples: Sequence[Sample], make: Callable
    ) -> Float[Tensor, "N D"]:
        """Embeddings of `make(sample)` for all samples, computed once per model and `key`."""
        return self.embed(model, key, ([make(s) for s in some] for some in [samples]))

    def embed(
        self, model: Embedder, key: tuple[str, str], blocks: Iterable[list[Item]]
    ) -> Float[Tensor, "N D"]:
        """Embeddings of items that come a few at a time, computed once per model and `key`."""
        place = (id(model), *key)
        if place not in self._vectors:
            found, count = [], 0
            for items in blocks:
                found.append(torch.as_tensor(model.embed(items)).float().cpu())
                count += len(items)
                self.note(f"{', '.join(key)}: {count:,} embedded")
            self._vectors[place] = torch.cat(found)
        return self._vectors[place]
