"""The batch of a step: its samples read, decoded into one place, and replaced where damaged."""

from bisect import bisect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omni.batch import SENSES, Batch, Sample
from omni.config import DataConfig, ModelConfig
from omni.modality.image import fit
from omni.modality.text import Tokenizer
from omni.pipeline.collate import Buffers, collate
from omni.pipeline.dataset import Dataset
from omni.pipeline.order import mix
from omni.pipeline.plan import Pick, Plan, Share
from omni.pipeline.quarantine import Fault
from omni.pipeline.reader import Reader, SampleError
from omni.pipeline.sample import MemberError, decode_members, make_sample

KEY = 3
"""of the numbers drawn for a sample, the one that fixes all that is drawn later"""
ATTEMPTS = 16
"""substitutes for one sample, after which the data set counts as broken"""


@dataclass(frozen=True)
class Made:
    """A batch, the places of it where another sample stands in, and what was found damaged."""

    batch: Batch
    substituted: list[int]
    faults: list[Fault]


class Assembler:
    """Makes batches, in one thread.

    Args:
        share: what this process takes of every step.
        known: (name of the data set, number) of samples known to be damaged: they are replaced
            without a look.
        keep_bytes: of decoded samples that stay in memory.
        beat: is told of every sample before it is read.
        fetching: what it gives is entered while a shard comes from far away.
    """

    def __init__(
        self,
        config: DataConfig,
        plan: Plan,
        tokenizer: Tokenizer,
        model: ModelConfig,
        share: Share,
        known: frozenset[tuple[str, int]] = frozenset(),
        keep_bytes: int = 0,
        beat: Callable[[int, Pick], None] = lambda step, pick: None,
        fetching: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.config, self.plan, self.tokenizer, self.model = config, plan, tokenizer, model
        self.share, self.beat = share, beat
        self.bad = {*known}
        self.readers = [Reader(dataset, fetching=fetching) for dataset in plan.datasets]
        self.kept: dict[tuple[int, int], Sample] = {}
        self.room = keep_bytes

    @property
    def size(self) -> int:
        """Samples of one micro-batch."""
        return self.config.batch_size // self.share.cuts

    def make(self, turn: int, buffers: Buffers | None = None) -> Made:
        """The micro-batch of a turn, in `buffers` where given."""
        step, *place = self.share.locate(turn)
        picks = self.plan.batch(step, *place)
        buffers = buffers or Buffers.allocate(len(picks), self.model)
        samples, substituted, faults, images = [], [], [], 0
        canvases = buffers.pixels.unbind()
        for number, pick in enumerate(picks):
            self.beat(step, pick)
            sample, found = self._sample(pick, canvases[images], step)
            faults += found
            if found or self._is_bad(pick):
                substituted.append(number)
            images += sample.image is not None
            samples.append(sample)
        texts, found = self._extra(step, *place)
        texts += self._translations(picks, samples)
        # Texts without a partner stay in their language: as candidates others would only confuse.
        foreign = [self.config.foreign] * len(samples) + [0.0] * len(texts)
        picks, samples = picks + [pick for pick, _ in texts], samples + [text for _, text in texts]
        draws = draw_numbers(self.plan.seed, picks)
        rows = zip(samples, draws.tolist(), foreign, strict=True)
        samples = [self._choose_text(*row) for row in rows]
        batch = collate(samples, self.tokenizer, self.model, buffers)
        batch = replace(batch, key=torch.from_numpy(draws[:, KEY].view(np.int64)))
        if self.config.shuffled:
            batch = _break_pairs(batch, np.random.default_rng((self.plan.seed, 1, turn)))
        return Made(batch, substituted, faults + found)

    def _is_bad(self, pick: Pick) -> bool:
        return (self._dataset(pick).name, pick.number) in self.bad

    def _dataset(self, pick: Pick) -> Dataset:
        return self.plan.datasets[pick.source]

    def _sample(self, pick: Pick, canvas: Tensor, step: int) -> tuple[Sample, list[Fault]]:
        """The sample of a pick, or the first substitute that is whole; what was damaged."""
        order, faults, reason = self.plan.blend.orders[pick.source], [], "it is quarantined"
        for attempt in range(ATTEMPTS):
            number = pick.number
            if attempt:
                number = order.substitute(pick.epoch, pick.stratum, pick.number, attempt)
            name = self._dataset(pick).name
            if (name, number) in self.bad:
                continue
            try:
                return self._decode(pick.source, number, canvas), faults
            except SampleError as error:
                faults.append(self._condemn(pick.source, number, error, step))
                reason = str(error)
        raise ValueError(f"{ATTEMPTS} samples in a row are damaged in {name}; the last: {reason}")

    def _condemn(self, source: int, number: int, error: SampleError, step: int) -> Fault:
        """Notes that a sample is not to be read again."""
        name = self.plan.datasets[source].name
        self.bad.add((name, number))
        return Fault(name, number, error.shard, error.key, error.member, error.reason, step)

    def _decode(self, source: int, number: int, canvas: Tensor) -> Sample:
        """A sample with its picture, fitted, in `canvas`."""
        if (kept := self.kept.get((source, number))) is not None:
            if kept.image is None:
                return kept
            return replace(kept, image=canvas.permute(2, 0, 1).copy_(kept.image))
        audio = self.model.audio
        found = self._read(source, number, audio.sample_rate, canvas.numpy())
        if (samples := found.get("audio")) is not None:
            found["audio"] = samples[: int(audio.max_seconds * audio.sample_rate)]
        image = found.get("image")
        if image is not None and image.data_ptr() != canvas.data_ptr():
            found["image"] = canvas.permute(2, 0, 1).copy_(fit(image, self.model.image.size))
        sample = make_sample(f"{source}/{number}", found)
        if self.room:
            self._keep(source, number, sample)
        return sample

    def _keep(self, source: int, number: int, sample: Sample) -> None:
        image, audio = sample.image, sample.audio
        size = sum(
            part.numel() * part.element_size() for part in (image, audio) if part is not None
        )
        if size <= self.room:
            self.room -= size
            image = image if image is None else image.clone()
            audio = audio if audio is None else audio.clone()
            self.kept[source, number] = replace(sample, image=image, audio=audio)

    def _extra(
        self, step: int, rank: int, world: int
    ) -> tuple[list[tuple[Pick, Sample]], list[Fault]]:
        """Texts alone, of other samples; not of those that are damaged, have none or ask."""
        samples, faults = [], []
        for pick in self.plan.extra(step, rank, world):
            self.beat(step, pick)
            try:
                sample = self._text(pick)
            except SampleError as error:
                faults.append(self._condemn(pick.source, pick.number, error, step))
                continue
            if sample.text is not None and not sample.answers:
                samples.append((pick, sample))
        return samples, faults

    def _translations(self, picks: list[Pick], samples: list[Sample]) -> list[tuple[Pick, Sample]]:
        """What some recordings say, in another language: each a text alone."""
        share, found = self.config.translated, []
        spoken = [i for i, sample in enumerate(samples) if sample.audio is not None]
        if not (share and spoken):
            return found
        draws = draw_numbers(self.plan.seed, [picks[i] for i in spoken]).tolist()
        for i, row in zip(spoken, draws, strict=True):
            text = self._choose_text(replace(samples[i], image=None, audio=None), row, share)
            if text.language != samples[i].language:
                found.append((picks[i], text))
        return found

    def _text(self, pick: Pick) -> Sample:
        kept = self.kept.get((pick.source, pick.number))
        if kept is not None:
            return replace(kept, image=None, audio=None)
        return make_sample("", self._read(pick.source, pick.number, only=("txt", "json")))

    def _read(
        self,
        source: int,
        number: int,
        sample_rate: int = 0,
        out: np.ndarray | None = None,
        only: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """What the members of a sample hold (see `decode_members`). Raises `SampleError`."""
        reader = self.readers[source]
        members = reader.content(number, only)
        try:
            return decode_members(members, sample_rate, out)
        except MemberError as error:
            raise reader.blame(number, error.member, error.reason) from error

    def _choose_text(self, sample: Sample, draws: list[int], foreign: float) -> Sample:
        """One of a sample's texts: without a recording, in another language now and then.

        A question stays in the language of its answers, of which one is chosen.
        """
        draw, first, second = (value / 2**64 for value in draws[:3])
        if answers := sample.answers:
            sample, foreign = replace(sample, answers=[answers[int(first * len(answers))]]), 0.0
        language, allowed = sample.language, self.config.languages or sample.texts
        others = [x for x in sample.texts if x != language and x in allowed]
        if sample.audio is None and others and draw < foreign:
            odds = (max(1, self.plan.languages[x]) ** self.config.language_alpha for x in others)
            *ends, total = accumulate(odds)
            language = others[bisect(ends, first * total)]
        texts = sample.texts.get(language, [])
        text = texts[int(second * len(texts))] if texts else sample.text
        if text == sample.text and language == sample.language:
            return sample
        return replace(sample, text=text, language=language)


def draw_numbers(seed: int, picks: list[Pick]) -> np.ndarray:
    """Numbers of 64 bits [N 4] for each pick, fixed by seed, epoch and sample; `KEY` is its key."""
    table = np.array([(p.source, p.epoch, p.number) for p in picks], np.int64).T
    return mix(seed, np.arange(4), *table[:, :, None])


def _break_pairs(batch: Batch, rng: np.random.Generator) -> Batch:
    """The items of each sense on other samples' rows, for a control that cannot learn a pair.

    What is to be written goes with the texts. Rows stay in order, as everybody expects.
    """
    parts = dict(batch.parts)
    for sense in SENSES:
        if sense in parts:
            count = len(parts[sense].rows)
            rows = torch.from_numpy(rng.permutation(batch.size)[:count]).sort().values
            items = torch.from_numpy(rng.permutation(count))
            for name in (sense, "caption") if sense == "text" else (sense,):
                parts[name] = replace(parts[name][items], rows=rows)
    return replace(batch, parts=parts, group=torch.arange(batch.size))
