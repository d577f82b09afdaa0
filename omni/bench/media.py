"""Made-up media that cost what real ones cost: shards to measure a loader with."""

import io
import json
from pathlib import Path

import numpy as np
import simplejpeg
import soundfile
import torch
import torch.nn.functional as F

from omni.pipeline.writer import write_shard

RATE = 16_000
WORDS = ("a", "red", "bicycle", "leans", "on", "the", "wall", "of", "an", "old", "house", "river")


def write_media(
    folder: Path, count: int, width: int, height: int, seconds: float, sound: str
) -> None:
    """`count` samples of a photo-like JPEG, speech-like sound (flac or wav), a caption, a json."""
    folder.mkdir(parents=True)
    for shard, start in enumerate(range(0, count, 256)):
        numbers = range(start, min(start + 256, count))
        samples = ((f"{n:06d}", _members(n, width, height, seconds, sound)) for n in numbers)
        write_shard(folder / f"train-{shard:06d}.tar", samples)


def _members(number: int, width: int, height: int, seconds: float, sound: str) -> dict[str, bytes]:
    rng = np.random.default_rng(number)
    samples = _speak(rng, seconds * rng.uniform(0.8, 1.2))
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format=sound.upper())
    words = rng.choice(WORDS, 10)
    return {
        "jpg": simplejpeg.encode_jpeg(_paint(rng, width, height), 90, colorsubsampling="420"),
        sound: file.getvalue(),
        "txt": " ".join(words).encode(),
        "json": json.dumps({"v": 1, "id": number, "src": "made up"}).encode(),
    }


def _paint(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Clouds at several scales, as photographs have: each octave half as strong."""
    image = np.zeros((3, height, width), np.float32)
    for octave in range(2, 6):
        coarse = torch.from_numpy(rng.standard_normal((1, 3, 2**octave, 2**octave))).float()
        fine = F.interpolate(coarse, (height, width), mode="bicubic")[0]
        image += fine.numpy() * 50 / 2 ** (octave - 2)
    return np.ascontiguousarray((image + 128).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _speak(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Harmonics of a gliding voice, in syllables, over a little noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)), 0, 1)
    wave = 0.15 * voice * syllables + 0.01 * rng.standard_normal(len(time))
    return (wave.clip(-1, 1) * 32767).astype(np.int16)
