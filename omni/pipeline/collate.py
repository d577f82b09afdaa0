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
    rows = [i for i, s in enumerate(samples) if s.image is not None]
    if rows:
        images = [fit(_present(samples[i].image), config.image.size) for i in rows]
        parts["image"] = Part(torch.stack(images), torch.tensor(rows), torch.ones(len(rows)).long())
    rows = [i for i, s in enumerate(samples) if s.audio is not None]
    if rows:
        limit = int(config.audio.max_seconds * config.audio.sample_rate)
        sounds = [_present(samples[i].audio)[:limit] for i in rows]
        # Few different lengths: each new shape costs seconds of preparation in oneDNN.
        parts["audio"] = _pad(sounds, rows, int(0.4 * config.audio.sample_rate))
    rows = [i for i, s in enumerate(samples) if s.text is not None]
    language = None
    if rows:
        limit = config.text.max_tokens
        ids = [torch.tensor(tokenizer.encode(samples[i].text or "", limit)) for i in rows]
        parts["text"] = _pad(ids, rows, 4)
        language = torch.tensor([tokenizer.language(samples[i].language) for i in rows])
    group = torch.tensor([zlib.crc32(s.group.encode()) for s in samples])
    return Batch(len(samples), group, parts, language)


def _present(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _pad(items: list[Tensor], rows: list[int], multiple: int) -> Part:
    """Rows of zeros (`PAD`, silence) to the longest, rounded up to a multiple."""
    longest = max(len(item) for item in items)
    size = -(-longest // multiple) * multiple
    data = torch.stack([F.pad(item, (0, size - len(item)), value=PAD) for item in items])
    return Part(data, torch.tensor(rows), torch.tensor([len(item) for item in items]))
