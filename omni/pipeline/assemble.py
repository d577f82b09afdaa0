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
from omni.config import DROP, DataConfig, ModelConfig
from omni.modality.image import fit
from omni.modality.text import Tokenizer
from omni.pipeline.collate import Buffers, collate
from omni.pipeline.formats import mask_of
from omni.pipeline.order import mix
from omni.pipeline.plan import Pick, Plan, Share
from omni.pipeline.quarantine import Fault
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_members, make_sample

KEY = 3
"""of the numbers drawn for a sample, the one that fixes all that is drawn later"""
ATTEMPTS = 16
"""substitutes for one sample, after which the data set counts as broken"""


@dataclass(frozen=True)
class Made:
    """A batch, and what of it is not as the plan has it.

    `substituted`: places where another sample stands in. `damaged`: number of samples of the plan
    that are damaged, wholly or in part. `faults`: damage that was met for the first time.
    """

    batch: Batch
    substituted: list[int]
    damaged: int
    faults: list[Fault]


class Assembler:
    """Makes batches, in one thread.

    Args:
        share: what this process takes of every step.
        known: (name of the data set, number, member) of what is known to be damaged: it is
            not looked at again.
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
        known: frozenset[tuple[str, int, str]] = frozenset(),
        keep_bytes: int = 0,
        beat: Callable[[int, Pick], None] = lambda step, pick: None,
        fetching: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.config, self.plan, self.tokenizer, self.model = config, plan, tokenizer, model
        self.share, self.beat = share, beat
        self.bad: dict[tuple[str, int], set[str]] = {}
        for name, number, member in known:
            self.bad.setdefault((name, number), set()).add(member)
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
        samples, substituted, faults, images, damaged = [], [], [], 0, 0
        canvases = buffers.pixels.unbind()
        for number, pick in enumerate(picks):
            self.beat(step, pick)
            sample, attempt, new = self._sample(pick, canvases[images], step)
            faults += new
            if attempt:
                substituted.append(number)
            if self._is_bad(pick.source, pick.number):
                damaged += 1
            if sample.image is not None:
                images += 1
            samples.append(sample)
        texts, new = self._extra(step, *place)
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
        return Made(batch, substituted, damaged, faults + new)

    def _is_bad(self, source: int, number: int) -> bool:
        return (self.plan.datasets[source].name, number) in self.bad

    def _sample(self, pick: Pick, canvas: Tensor, step: int) -> tuple[Sample, int, list[Fault]]:
        """The sample of a pick, or of the first substitute of which enough is sound.

        With it come the number of the substitute, 0 for none, and the damage that is new.
        """
        order, faults = self.plan.blend.orders[pick.source], []
        for attempt in range(ATTEMPTS):
            number = pick.number
            if attempt:
                number = order.substitute(pick.epoch, pick.stratum, pick.number, attempt)
            if self._is_dropped(pick.source, number):
                continue
            sample, new = self._decode(pick.source, number, canvas, step)
            faults += new
            if self._is_enough(pick.source, number, sample):
                return sample, attempt, faults
        name, reason = self.plan.datasets[pick.source].name, "it is quarantined"
        if faults:
            last = faults[-1]
            reason = f"shard {last.shard!r}, sample {last.key!r}, .{last.member}: {last.reason}"
        raise ValueError(f"{ATTEMPTS} samples in a row are damaged in {name}; the last: {reason}")

    def _is_dropped(self, source: int, number: int) -> bool:
        """Whether a sample is passed over because one of its members is damaged."""
        return self.config.damaged == DROP and self._is_bad(source, number)

    def _is_enough(self, source: int, number: int, sample: Sample) -> bool:
        """Whether what is sound of a sample may be used: all that its source must have."""
        if self._is_dropped(source, number):
            return False
        senses = mask_of("+".join(sample.senses))
        required = self.plan.blend.orders[source].require
        return senses != 0 and senses & required == required

    def _decode(
        self, source: int, number: int, canvas: Tensor, step: int
    ) -> tuple[Sample, list[Fault]]:
        """A sample as far as it is sound, its picture, fitted, in `canvas`; damage that is new."""
        if (kept := self.kept.get((source, number))) is not None:
            if kept.image is None:
                return kept, []
            return replace(kept, image=canvas.permute(2, 0, 1).copy_(kept.image)), []
        audio = self.model.audio
        found, faults = self._read(source, number, step, audio.sample_rate, canvas.numpy())
        if (samples := found.get("audio")) is not None:
            found["audio"] = samples[: int(audio.max_seconds * audio.sample_rate)]
        image = found.get("image")
        if image is not None and image.data_ptr() != canvas.data_ptr():
            found["image"] = canvas.permute(2, 0, 1).copy_(fit(image, self.model.image.size))
        sample = make_sample(f"{source}/{number}", found)
        if self.room:
            self._keep(source, number, sample)
        return sample, faults

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
            sample, new = self._text(pick, step)
            faults += new
            dropped = self._is_dropped(pick.source, pick.number)
            if sample.text is not None and not sample.answers and not dropped:
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

    def _text(self, pick: Pick, step: int) -> tuple[Sample, list[Fault]]:
        kept = self.kept.get((pick.source, pick.number))
        if kept is not None:
            return replace(kept, image=None, audio=None), []
        found, faults = self._read(pick.source, pick.number, step, only=("txt", "json"))
        return make_sample("", found), faults

    def _read(
        self,
        source: int,
        number: int,
        step: int,
        sample_rate: int = 0,
        out: np.ndarray | None = None,
        only: tuple[str, ...] = (),
    ) -> tuple[dict[str, Any], list[Fault]]:
        """What the sound members of a sample hold (see `decode_members`); damage that is new."""
        reader, name = self.readers[source], self.plan.datasets[source].name
        reasons = dict.fromkeys(self.bad.get((name, number), ()), "")
        known = {*reasons}
        members = reader.content(number, only, reasons)
        sound = {member: data for member, data in members.items() if member not in known}
        found = decode_members(sound, sample_rate, out, reasons)
        new = [member for member in reasons if member not in known]
        errors = [reader.blame(number, member, reasons[member]) for member in new]
        if new:
            self.bad.setdefault((name, number), set()).update(new)
        places = [(error.shard, error.key, error.member, error.reason) for error in errors]
        return found, [Fault(name, number, *place, step) for place in places]

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
