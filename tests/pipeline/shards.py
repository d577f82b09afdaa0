"""Small shards of real media, each sample to be told from every other."""

import io
import json
from pathlib import Path

import numpy as np
import simplejpeg
import soundfile

from omni.config import AudioConfig, DataConfig, ImageConfig, ModelConfig, TextConfig
from omni.pipeline.writer import write_manifest, write_shard

MODEL = ModelConfig(
    image=ImageConfig(size=16),
    audio=AudioConfig(max_seconds=0.5),
    text=TextConfig(max_tokens=12),
)


def settings(path: Path, **others) -> DataConfig:
    return DataConfig(**{"path": (str(path),), "batch_size": 8, "extra_texts": 4} | others)


def make_members(number: int, senses: str) -> dict[str, bytes]:
    """A picture whose colour, a sound whose length, and a text whose words are the number's."""
    rng = np.random.default_rng(number)
    members = {}
    if "image" in senses:
        pixels = rng.integers(0, 255, (16, 16, 3), np.uint8)
        members["jpg"] = simplejpeg.encode_jpeg(pixels, quality=95)
    if "audio" in senses:
        file = io.BytesIO()
        samples = rng.integers(-9000, 9000, 800 + 37 * number % 4000, np.int16)
        soundfile.write(file, samples, 16_000, "PCM_16", format="WAV")
        members["wav"] = file.getvalue()
    if "text" in senses:
        members["txt"] = f"sample {number}".encode()
    return members | {"json": json.dumps({"number": number}).encode()}


SENSES = ("image+audio+text", "image+audio+text", "image+text", "audio+text", "image+audio", "text")


def write_data(
    folder: Path,
    counts: tuple[int, ...] = (17, 19, 11),
    split: str = "train",
    senses: tuple[str, ...] = SENSES,
    first: int = 0,
) -> Path:
    """Shards of so many samples each, of the sets of `senses` in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    number = first
    for shard, count in enumerate(counts):
        samples = []
        for _ in range(count):
            samples.append((f"s{number:05d}", make_members(number, senses[number % len(senses)])))
            number += 1
        write_shard(folder / f"{split}-{shard:06d}.tar", samples)
    write_manifest(folder)
    return folder
