"""Items to what the network makes of them: the half of a model that all verbs share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from omni.batch import SENSES, Sample, Tokens
from omni.config import Config
from omni.device import autocast, pick_device
from omni.items import Item, num_frames, to_sample
from omni.modality.text import Tokenizer
from omni.network import Fused, Network
from omni.pipeline.collate import collate

CHUNK = 64
"""items that go through the network at once"""


class Encoding:
    """A network, ready to read, and all that it takes to show it something.

    Attributes:
        spread: runs a function on each of the batches, in their order: `map`, or another that
            deals them out to several processes.
    """

    def __init__(
        self, network: Network, tokenizer: Tokenizer, config: Config, device: str = "auto"
    ) -> None:
        self.device = pick_device(device)
        self.network = network.to(self.device).eval()
        self.tokenizer, self.config = tokenizer, config
        self.spread: Callable[[Callable, Sequence], Iterable] = map

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
        """Runs samples of the same senses, and as many frames, through the encoders together."""
        groups: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for index, sample in enumerate(samples):
            senses = tuple(s for s in sorted(SENSES) if getattr(sample, s) is not None)
            groups.setdefault((senses, num_frames(sample)), []).append(index)
        batches = [
            (senses, frames, some.tolist())
            for (senses, frames), members in groups.items()
            for some in torch.tensor(members).split(max(1, CHUNK // frames))
        ]

        def run(batch: tuple[tuple[str, ...], int, list[int]]) -> list:
            senses, frames, indices = batch
            chosen = [samples[i] for i in indices]
            return make({s: self._encode(s, chosen, frames) for s in senses}, indices)

        answers: dict[int, Any] = {}
        for (_, _, indices), made in zip(batches, self.spread(run, batches), strict=True):
            answers.update(zip(indices, made, strict=True))
        return [answers[index] for index in range(len(samples))]

    def _encode(self, sense: str, samples: list[Sample], frames: int) -> Tokens:
        """The tokens of samples that have a sense, of pictures so many each."""
        content = [getattr(sample, sense) for sample in samples]
        if sense == "image":
            content = [frame for x in content for frame in x.view(-1, *x.shape[-3:])]
        alone = [Sample("query", **{sense: one}) for one in content]
        batch = collate(alone, self.tokenizer, self.config.model)
        part = batch.to(self.device).parts[sense]
        if sense == "image" and frames > 1:
            return self.network.encode_frames(part, frames)
        return self.network.encode(sense, part)

    def _samples(self, items: Item | list[Item]) -> list[Sample]:
        if isinstance(items, list) and not items:
            raise ValueError("items must not be an empty list")
        rate = self.config.model.audio.sample_rate
        several = items if isinstance(items, list) else [items]
        return [to_sample(item, rate) for item in several]
