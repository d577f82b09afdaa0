"""What loader, network and objectives share: the sample, the batch, and a sequence of tokens.

Letters of the shapes: B samples of a batch, N items of one sense (N <= B: a sample may lack any
sense), H W pixels, S audio samples, L text tokens, T tokens of any sense, D width, K gist.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int16, UInt8
from torch import Tensor

SENSES = ("image", "audio", "text")
BESIDE = ("caption", "question", "answer")
"""parts of a batch that are no sense: what is to be written of a sample, what is asked about it and
what is to be written then; a question is no caption"""
WRITTEN = ("caption", "answer")


@dataclass(frozen=True)
class Sample:
    """One decoded sample of a shard. A sense that the shard does not hold is None."""

    key: str
    image: UInt8[Tensor, "*F 3 H W"] | None = None
    """a picture, or the F frames of a video"""
    audio: Int16[Tensor, "*W S"] | None = None
    """a recording, or the W windows of a long one"""
    text: str | None = None
    language: str = "en"
    group: str = ""
    """samples of one group show the same thing: they are not negatives of each other"""
    texts: dict[str, list[str]] = field(default_factory=dict)
    """every text of the sample by language, `text` among them"""
    answers: list[str] = field(default_factory=list)
    """where there are any, `text` is a question"""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def senses(self) -> tuple[str, ...]:
        """Those that it has."""
        return tuple(sense for sense in SENSES if getattr(self, sense) is not None)


@dataclass(frozen=True)
class Part:
    """All items of one sense in a batch, dense; `rows` says which sample each belongs to."""

    data: Tensor
    """uint8 [N 3 H W], int16 [N S] or token ids [N L]: those that the encoder reads, or, with the
    language before them, those that are written"""
    rows: Int[Tensor, "N"]
    lengths: Int[Tensor, "N"]
    """valid audio samples or text tokens of each item; for images, 1"""

    def __getitem__(self, index: Int[Tensor, "K"]) -> "Part":
        return Part(self.data[index], self.rows[index], self.lengths[index])

    def to(self, device: Any) -> "Part":
        """The same part on another device."""
        tensors = self.data, self.rows, self.lengths
        return Part(*(tensor.to(device, non_blocking=True) for tensor in tensors))


@dataclass(frozen=True)
class Batch:
    """Dense parts, one for each sense that at least one sample has, and one each of `BESIDE`."""

    size: int
    group: Int[Tensor, "B"]
    parts: dict[str, Part]
    key: Int[Tensor, "B"] | None = None
    """fixes what is drawn for each sample, such as its augmentation; None where nothing is"""

    def to(self, device: Any) -> "Batch":
        """The same batch on another device."""
        parts = {sense: part.to(device) for sense, part in self.parts.items()}
        key = None if self.key is None else self.key.to(device)
        return replace(self, group=self.group.to(device), parts=parts, key=key)

    def copy(self) -> "Batch":
        """The same in memory of its own: what a loader hands out is good for one turn only."""
        parts = {
            s: Part(part.data.clone(memory_format=torch.preserve_format), part.rows, part.lengths)
            for s, part in self.parts.items()
        }
        return replace(self, parts=parts)

    def table(self) -> "Table":
        """What the other processes need to know of these samples."""
        assert self.key is not None
        lengths = torch.zeros(self.size, len(SENSES), dtype=torch.long)
        written = torch.zeros(self.size, 2, dtype=torch.long)
        for name, part in self.parts.items():
            if name in SENSES:
                lengths[part.rows, SENSES.index(name)] = part.lengths
            elif name in WRITTEN:
                written[:, WRITTEN.index(name)].index_add_(0, part.rows, part.lengths - 1)
        return Table(self.key, self.group, lengths, written)


@dataclass(frozen=True)
class Table:
    """The samples of a step in all micro-batches of all processes: small, and everywhere alike."""

    key: Int[Tensor, "G"]
    group: Int[Tensor, "G"]
    lengths: Int[Tensor, "G 3"]
    """as `Part.lengths`, in the order of `SENSES`; 0 where a sense is absent"""
    written: Int[Tensor, "G 2"]
    """tokens that the text decoder is to guess, in the order of `WRITTEN`"""

    def has(self, *senses: str) -> Bool[Tensor, "G"]:
        """Which samples have all of some senses."""
        return (self.lengths[:, [SENSES.index(sense) for sense in senses]] > 0).all(1)


@dataclass(frozen=True)
class Tokens:
    """A padded batch of sequences; `mask` is True where a token is present."""

    x: Float[Tensor, "N T D"]
    mask: Bool[Tensor, "N T"]
    gist: Float[Tensor, "N K"] | None = None
    """what a pretrained encoder says of the whole, which is a part of its own of the vector"""

    def __getitem__(self, rows: Tensor | slice) -> "Tokens":
        gist = None if self.gist is None else self.gist[rows]
        return Tokens(self.x[rows], self.mask[rows], gist)

    def mean(self) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N 1"]]:
        """Over the tokens that are present, zero without any; and whether there are any."""
        weight = self.mask[..., None].float()
        count = weight.sum(1)
        return (self.x.float() * weight).sum(1) / count.clamp(min=1), count.clamp(max=1)


def stack(parts: Sequence[Tokens]) -> Tokens:
    """Sequences of several lengths as one padded batch."""
    longest = max(part.x.shape[1] for part in parts)
    x = [F.pad(part.x, (0, 0, 0, longest - part.x.shape[1])) for part in parts]
    mask = [F.pad(part.mask, (0, longest - part.mask.shape[1])) for part in parts]
    return Tokens(torch.cat(x), torch.cat(mask))
