"""Samples to one batch: the only place where raw media meet the sizes that the network expects."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int16, UInt8
from torch import Tensor

from omni.batch import Batch, Part, Sample
from omni.config import ModelConfig
from omni.modality.audio import padded
from omni.modality.image import fit
from omni.modality.text import PAD, Tokenizer


@dataclass(frozen=True)
class Buffers:
    """Where the pictures and the sounds of a batch go: used again and again, or shared."""

    pixels: UInt8[Tensor, "N S S 3"]
    samples: Int16[Tensor, "V"]

    @staticmethod
    def num_bytes(count: int, config: ModelConfig) -> tuple[int, int]:
        """Bytes of the pictures and of the sounds of `count` samples."""
        return count * config.image.size**2 * 3, 2 * count * _limit(config)

    @staticmethod
    def over(memory: UInt8[Tensor, "M"], count: int, config: ModelConfig) -> "Buffers":
        """A view of memory of `sum(num_bytes)`."""
        side, pixels = config.image.size, Buffers.num_bytes(count, config)[0]
        return Buffers(
            memory[:pixels].view(count, side, side, 3),
            memory[pixels : sum(Buffers.num_bytes(count, config))].view(torch.int16),
        )

    @staticmethod
    def allocate(count: int, config: ModelConfig) -> "Buffers":
        """In memory of their own."""
        memory = torch.empty(sum(Buffers.num_bytes(count, config)), dtype=torch.uint8)
        return Buffers.over(memory, count, config)


def collate(
    samples: Sequence[Sample],
    tokenizer: Tokenizer,
    config: ModelConfig,
    buffers: Buffers | None = None,
) -> Batch:
    """Pictures fitted to a square, sounds cut and padded, texts as padded token ids.

    A text that has answers is a question, and no item of the sense; the first answer counts.
    With `buffers`, pictures and sounds lie there; a picture may be in its place already.
    """
    parts: dict[str, Part] = {}
    images = {i: s.image for i, s in enumerate(samples) if s.image is not None}
    sounds = {i: s.audio for i, s in enumerate(samples) if s.audio is not None}
    buffers = buffers or Buffers.allocate(max(len(images), len(sounds)), config)
    if images:
        ones = torch.ones(len(images)).long()
        pixels = _place_images([*images.values()], buffers.pixels[: len(images)])
        parts["image"] = Part(pixels, torch.tensor([*images]), ones)
    if sounds:
        parts["audio"] = _place_sounds(sounds, buffers.samples, config)
    texts = {i: s.text for i, s in enumerate(samples) if s.text is not None}
    asked = {i: text for i, text in texts.items() if samples[i].answers}
    told = {i: text for i, text in texts.items() if i not in asked}
    answers = {i: samples[i].answers[0] for i in asked}
    limit = config.text.max_tokens
    for name, some in (("text", told), ("question", asked)):
        if some:
            ids = [tokenizer.reader.encode(text, limit) for text in some.values()]
            parts[name] = _pad_texts([*some], ids)
    for name, some in (("caption", told), ("answer", answers)):
        if some:
            languages = [tokenizer.language(samples[i].language) for i in some]
            ids = [tokenizer.encode(text, limit) for text in some.values()]
            rows = [[code, *text] for code, text in zip(languages, ids, strict=True)]
            parts[name] = _pad_texts([*some], rows)
    group = torch.tensor([zlib.crc32(s.group.encode()) for s in samples])
    return Batch(len(samples), group, parts)


def _place_images(
    images: list[Tensor], pixels: UInt8[Tensor, "N S S 3"]
) -> UInt8[Tensor, "N 3 S S"]:
    """Fitted pictures as one tensor; its memory is channels last, as decoders write it."""
    batch = pixels.permute(0, 3, 1, 2)
    for image, place in zip(images, batch, strict=True):
        if image.data_ptr() != place.data_ptr():
            place.copy_(fit(image, place.shape[-1]))
    return batch


def _limit(config: ModelConfig) -> int:
    """Samples of the longest sound, as it is padded."""
    longest = int(config.audio.max_seconds * config.audio.sample_rate)
    return int(padded(torch.tensor(longest), config.audio.sample_rate))


def _place_sounds(sounds: dict[int, Tensor], memory: Tensor, config: ModelConfig) -> Part:
    """Rows of samples, silence after them, to the longest."""
    limit = int(config.audio.max_seconds * config.audio.sample_rate)
    lengths = [min(len(sound), limit) for sound in sounds.values()]
    size = int(padded(torch.tensor(max(lengths)), config.audio.sample_rate))
    data = memory[: len(lengths) * size].view(len(lengths), size)
    # By numpy: a call of torch costs as much as copying a short sound.
    for row, sound, length in zip(data.numpy(), sounds.values(), lengths, strict=True):
        row[:length] = sound.numpy()[:length]
        row[length:] = 0
    return Part(data, torch.tensor([*sounds]), torch.tensor(lengths))


def _pad_texts(rows: list[int], texts: list[list[int]]) -> Part:
    """Rows of token ids, `PAD` after them, to the longest, rounded up to a multiple of four."""
    lengths = [len(ids) for ids in texts]
    size = -(-max(lengths) // 4) * 4
    data = torch.tensor([ids + [PAD] * (size - len(ids)) for ids in texts])
    return Part(data, torch.tensor(rows), torch.tensor(lengths))
