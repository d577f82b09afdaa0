"""Batches as a pure function of (seed, step): any step can be asked for, in any order.

Samples are decoded once and kept, which suits corpora that fit in memory.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from omni.batch import Batch, Part, Sample
from omni.config import DataConfig, ModelConfig
from omni.modality.text import Tokenizer
from omni.pipeline.collate import collate
from omni.pipeline.shards import read_samples
from omni.pipeline.synthetic import make_samples

AHEAD = 4
"""batches prepared while the network works"""
WINDOW = 8
"""batches among which samples are sorted by length"""


class Loader:
    """Shuffled batches of one split, endless; each epoch is a permutation of all samples."""

    def __init__(self, config: DataConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        if config.path == "synthetic":
            self.samples = make_samples(config.split)
        else:
            self.samples = read_samples(config.path, config.split)
        strata: dict[tuple[bool, ...], list[int]] = {}
        for index, sample in enumerate(self.samples):
            senses = tuple(part is not None for part in (sample.image, sample.audio, sample.text))
            strata.setdefault(senses, []).append(index)
        self._strata = [strata[senses] for senses in sorted(strata, reverse=True)]
        self._lengths = [
            len(s.audio) if s.audio is not None else len(s.text or "") for s in self.samples
        ]
        self._quotas = _share([len(stratum) for stratum in self._strata], config.batch_size)

    def learn_tokenizer(self, vocab_size: int) -> Tokenizer:
        """A tokenizer for the texts of the split, names in other languages included."""
        languages, texts = [], []
        for sample in self.samples:
            own = {} if sample.text is None else {sample.language: sample.text}
            for names in (own, sample.meta.get("names", {})):
                languages += names.keys()
                texts += names.values()
        return Tokenizer.train(texts, languages, vocab_size)

    def indices(self, step: int) -> list[int]:
        """Which samples make up the batch of a step, in random order.

        Samples are drawn in proportion from each stratum, the samples that have the same senses,
        and each stratum is gone through in a new order every epoch. So each batch holds as many
        items of a sense as any other: nothing has to be compiled, planned or allocated anew.
        Within `WINDOW` batches they are sorted by length, so that little is padding.
        """
        window = step // WINDOW
        turn = int(np.random.default_rng((self.seed, 3, window)).permutation(WINDOW)[step % WINDOW])
        chosen: list[int] = []
        for number, (stratum, quota) in enumerate(zip(self._strata, self._quotas, strict=True)):
            start, count = window * WINDOW * quota, len(stratum)
            positions = range(start, start + WINDOW * quota)
            orders = {
                epoch: np.random.default_rng((self.seed, 0, number, epoch)).permutation(stratum)
                for epoch in {position // count for position in positions}
            }
            drawn = [int(orders[p // count][p % count]) for p in positions]
            drawn.sort(key=self._lengths.__getitem__)
            chosen += drawn[turn * quota : (turn + 1) * quota]
        return np.random.default_rng((self.seed, 2, step)).permutation(chosen).tolist()

    def batch(self, step: int, tokenizer: Tokenizer, model: ModelConfig) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng((self.seed, 1, step))
        samples = [self._choose_text(self.samples[i], rng) for i in self.indices(step)]
        for i in rng.integers(len(self.samples), size=self.config.extra_texts):
            if self.samples[i].text is not None:
                samples.append(replace(self.samples[i], image=None, audio=None))
        batch = collate(samples, tokenizer, model)
        return _break_pairs(batch, rng) if self.config.shuffled else batch

    def batches(
        self, start: int, stop: int, tokenizer: Tokenizer, model: ModelConfig
    ) -> Iterator[Batch]:
        """The batches of the steps `start` to `stop - 1`, prepared ahead in a thread."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [
                pool.submit(self.batch, step, tokenizer, model)
                for step in range(start, min(start + AHEAD, stop))
            ]
            for step in range(start, stop):
                yield waiting.pop(0).result()
                if step + AHEAD < stop:
                    waiting.append(pool.submit(self.batch, step + AHEAD, tokenizer, model))

    def _choose_text(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Without a recording, the name in another language now and then: nobody speaks it here."""
        names = sample.meta.get("names", {})
        others = [language for language in names if language != sample.language]
        draw, choice = rng.random(), rng.random()
        if sample.audio is not None or not others or draw >= self.config.foreign:
            return sample
        language = others[int(choice * len(others))]
        return replace(sample, text=names[language], language=language)


def _share(sizes: list[int], total: int) -> list[int]:
    """`total` in whole parts, nearest to the proportions of `sizes` (largest remainder)."""
    exact = [total * size / sum(sizes) for size in sizes]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def _break_pairs(batch: Batch, rng: np.random.Generator) -> Batch:
    """The items of each sense on other samples' rows, for a control that cannot learn a pair."""
    parts = {}
    for sense, part in batch.parts.items():
        rows = torch.from_numpy(rng.permutation(batch.size)[: len(part.rows)])
        parts[sense] = Part(part.data, rows, part.lengths)
    return replace(batch, parts=parts, group=torch.arange(batch.size))
