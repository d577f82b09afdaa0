"""A world of numbers: greys, levels of sound and texts; and a model that knows them all."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from omni import Audio, Omni
from omni.pipeline.writer import write_shard
from tests.data.samples import encoded, recording

NUMBERS = 16


class Knowing(Omni):
    """A model that knows what it is shown: colour n, tone n and texts that end in n are alike."""

    def __init__(self) -> None:  # it has no network
        self.spread = map

    def embed(self, items: list) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.stack([*map(self.vector, items)]), dim=1)

    def generate(self, items: list, to: str, seed: int, language: str) -> list[str]:
        return [f"this thing shows the number {self.number(item)}" for item in items]

    def vector(self, item: object) -> torch.Tensor:
        parts = item if isinstance(item, tuple) else (item,)
        numbers = [self.number(part) for part in parts]
        return torch.nn.functional.one_hot(torch.tensor(numbers), NUMBERS).float().mean(0)

    def number(self, item: object) -> int:
        if isinstance(item, str):
            return int(item.split()[-1])
        if isinstance(item, PIL.Image.Image):
            return round(float(np.asarray(item).mean()) / 15)
        assert isinstance(item, Audio)
        return round(float(item.samples.mean()) * 32)


def level(number: int) -> bytes:
    """A recording that says a number."""
    return recording(np.full(1600, number * 1024, np.int16))


def members(number: int, senses: str, **meta: object) -> dict[str, bytes]:
    """A picture in the grey of a number, a recording at its level, and what json says."""
    found: dict[str, bytes] = {}
    if "image" in senses:
        grey = PIL.Image.new("RGB", (32, 32), (number * 15,) * 3)
        found["png"] = encoded(grey, "PNG")
    if "audio" in senses:
        found["wav"] = level(number)
    return found | {"json": json.dumps(meta).encode()}


def write(folder: Path, samples: list[dict[str, bytes]], split: str = "test") -> Path:
    named = [(f"s{number}", sample) for number, sample in enumerate(samples)]
    write_shard(folder / f"{split}-000000.tar", named)
    return folder
