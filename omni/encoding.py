"""Items to what the network makes of them: the half of a model that all verbs share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from omni.batch import SENSES, Sample, Tokens
from omni.config import Config
from omni.device import autocast, pick_device
from omni.items import Item, num_frames, resolve, to_sample
from omni.modality.text import Tokenizer
from omni.network import Fused, Network
from omni.pipeline.collate import collate
from omni.silence import find_sound

CHUNK = 64
"""items that go through the network at once"""
WINDOWS = 16
"""of a recording that is longer than the model takes, evenly spread, as many as there must be"""


@dataclass(frozen=True)
class Shape:
    """What samples that go through the encoders together have in common.

    Attributes:
        parts: each modality that they have, with the number of frames or windows of it.
    """

    parts: tuple[tuple[str, int], ...]

    @staticmethod
    def of(sample: Sample) -> "Shape":
        """Return the shape of a sample."""
        counts = {"text": 1, "image": num_frames(sample), "audio": num_windows(sample)}
        present = [name for name in sorted(SENSES) if getattr(sample, name) is not None]
        return Shape(tuple((name, counts[name]) for name in present))

    @property
    def largest(self) -> int:
        """The most frames or windows of a modality."""
        return max(count for _, count in self.parts)


def num_windows(sample: Sample) -> int:
    """Return the windows of a sample's recording; 1 where it is short, or there is none."""
    return 1 if sample.audio is None or sample.audio.ndim == 1 else len(sample.audio)


class Encoding:
    """A network, ready to read, and all that it takes to show it something.

    Attributes:
        spread: runs a function on each of the batches, in their order: `map`, or another that
            deals them out to several processes.
        reads_files: whether paths are read, and a text that is the name of a file is refused; off
            where texts come from elsewhere, who must not learn which files there are.
    """

    def __init__(
        self, network: Network, tokenizer: Tokenizer, config: Config, device: str = "auto"
    ) -> None:
        self.device = pick_device(device)
        self.network = network.to(self.device).eval()
        self.tokenizer, self.config = tokenizer, config
        self.spread: Callable[[Callable, Sequence], Iterable] = map
        self.reads_files = True

    def _half(self) -> torch.autocast:
        """What the decoders run in: the precision of the training."""
        return autocast(self.config.train.precision, self.device)

    def _each(self, samples: list[Sample], make: Callable[[Fused, list[int]], list]) -> list:
        """What is made of each sample, and of its number, in their order."""
        return self._batched(samples, lambda t, some: make(self.network.fuse(*t.values()), some))

    def _memories(self, samples: list[Sample]) -> list[Tokens | None]:
        """What the text decoder sees of samples that hold no text, each a batch of one."""
        wordless = [i for i, sample in enumerate(samples) if sample.text is None]

        def apart(fused: Fused, indices: list[int]) -> list[Tokens]:
            return [fused.tokens[i : i + 1] for i in range(len(indices))]

        found: list[Tokens | None] = [None] * len(samples)
        for i, tokens in zip(
            wordless, self._each([samples[i] for i in wordless], apart), strict=True
        ):
            found[i] = Tokens(tokens.x.to(self.device), tokens.mask.to(self.device))
        return found

    def _ids(self, text: str) -> Int[Tensor, "L"]:
        return torch.tensor(self.tokenizer.encode(text, self.config.model.text.max_tokens))

    @torch.no_grad()
    def _batched(
        self, samples: list[Sample], make: Callable[[dict[str, Tokens], list[int]], list]
    ) -> list:
        """Run samples of the same modalities, frames and windows through the encoders together."""
        groups: dict[Shape, list[int]] = {}
        for index, sample in enumerate(samples):
            groups.setdefault(Shape.of(sample), []).append(index)
        batches = [
            (shape, some.tolist())
            for shape, members in groups.items()
            for some in torch.tensor(members).split(max(1, CHUNK // shape.largest))
        ]

        def run(batch: tuple[Shape, list[int]]) -> list:
            shape, indices = batch
            chosen = [samples[i] for i in indices]
            tokens = {name: self._encode(name, chosen, count) for name, count in shape.parts}
            return make(tokens, indices)

        answers: dict[int, Any] = {}
        for (_, indices), made in zip(batches, self.spread(run, batches), strict=True):
            answers.update(zip(indices, made, strict=True))
        return [answers[index] for index in range(len(samples))]

    def _encode(self, modality: str, samples: list[Sample], count: int) -> Tokens:
        """Encode one modality of samples that have it, of pictures and recordings `count` each."""
        content = [getattr(sample, modality) for sample in samples]
        if modality == "image":
            content = [frame for x in content for frame in x.view(-1, *x.shape[-3:])]
        if modality == "audio":
            content = [window for x in content for window in x.view(-1, x.shape[-1])]
        alone = [Sample("query", **{modality: one}) for one in content]
        batch = collate(alone, self.tokenizer, self.config.model)
        part = batch.to(self.device).parts[modality]
        if modality == "image" and count > 1:
            return self.network.encode_frames(part, count)
        if modality == "audio" and count > 1:
            return self.network.encode_windows(part, count)
        return self.network.encode(modality, part)

    def _items(self, items: Item | list[Item]) -> list[Item]:
        """Return one item or several as a list, their files read."""
        if isinstance(items, list) and not items:
            raise ValueError("items must not be an empty list")
        several: list[Item] = [*items] if isinstance(items, list) else [items]
        return [resolve(item) for item in several] if self.reads_files else several

    def _samples(self, items: Item | list[Item]) -> list[Sample]:
        rate = self.config.model.audio.sample_rate
        several = self._items(items)
        return [self._heard(to_sample(item, rate)) for item in several]

    def _heard(self, sample: Sample) -> Sample:
        """Return a sample whose recording begins and ends with sound, long ones in windows.

        A silent recording stays as it is.
        """
        if sample.audio is None:
            return sample
        audio = self.config.model.audio
        sound = find_sound(sample.audio.numpy(), audio.sample_rate)
        samples = sample.audio if sound is None else sample.audio[sound]
        longest = int(audio.max_seconds * audio.sample_rate)
        if len(samples) > longest:
            count = min(WINDOWS, -(-len(samples) // longest))
            starts = torch.linspace(0, len(samples) - longest, count).long().tolist()
            samples = torch.stack([samples[start : start + longest] for start in starts])
        return replace(sample, audio=samples)
