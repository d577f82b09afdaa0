"""Samples to one batch: the only place where raw media meet the sizes that the network expects."""

import zlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from omni.batch import Batch, Part, Sample
from omni.config import ModelConfig
from omni.modality.image import fit
from omni.modality.text import PAD, Tokenizer


def collate(samples: Sequence[Sample], tokenizer: Tokenizer, config: ModelConfig) -> Batch:
    """Pictures fitted to a square, sounds cut and padded, texts as padded token ids."""
    parts: dict[str, Part] = {}
    size, seconds = config.image.size, config.audio.max_seconds
    images = {i: fit(s.image, size) for i, s in enumerate(samples) if s.image is not None}
    if images:
        ones = torch.ones(len(images)).long()
        parts["image"] = Part(torch.stack([*images.values()]), torch.tensor([*images]), ones)
    limit = int(seconds * config.audio.sample_rate)
    sounds = {i: s.audio[:limit] for i, s in enumerate(samples) if s.audio is not None}
    if sounds:
        # Few different lengths: each new shape costs seconds of preparation in oneDNN.
        parts["audio"] = _pad(sounds, int(0.4 * config.audio.sample_rate))
    limit, language = config.text.max_tokens, None
    texts = {i: (s.text, s.language) for i, s in enumerate(samples) if s.text is not None}
    if texts:
        encoded = {i: tokenizer.encode(text, limit) for i, (text, _) in texts.items()}
        parts["text"] = _pad({i: torch.tensor(ids) for i, ids in encoded.items()}, 4)
        language = torch.tensor([tokenizer.language(code) for _, code in texts.values()])
    group = torch.tensor([zlib.crc32(s.group.encode()) for s in samples])
    return Batch(len(samples), group, parts, language)


def _pad(items: dict[int, Tensor], multiple: int) -> Part:
    """Rows of zeros (`PAD`, silence) to the longest, rounded up to a multiple."""
    lengths = torch.tensor([len(item) for item in items.values()])
    size = -(-int(lengths.max()) // multiple) * multiple
    data = torch.stack([F.pad(item, (0, size - len(item)), value=PAD) for item in items.values()])
    return Part(data, torch.tensor([*items]), lengths)
