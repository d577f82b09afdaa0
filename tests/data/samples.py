"""Small data sets with nothing wrong about them, to plant problems in, and what check says."""

import argparse
import io
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from data.prepare import check
from data.prepare.findings import ERROR, Finding
from omni.pipeline.writer import write_shard

WORDS = ("red", "green", "blue", "round", "flat", "tall", "old", "new", "wet", "dry", "hot", "cold")
SAMPLES = 12
Samples = list[tuple[str, dict[str, bytes]]]


def drawing(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC)


def picture(seed: int, kind: str = "JPEG", quality: int = 90) -> bytes:
    return encoded(drawing(seed), kind, quality)


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, 2000).astype(np.int16)


def recording(samples: np.ndarray, kind: str = "WAV", rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def fine(first: int = 0, count: int = SAMPLES) -> Samples:
    """Samples with nothing wrong about them; no two of different `first` are alike."""
    return [
        (
            f"s{number}",
            {
                "jpg": picture(number),
                "wav": recording(noise(number)),
                "txt": f"a {WORDS[number % 12]} thing, number {number}".encode(),
                "json": b'{"language": "en"}',
            },
        )
        for number in range(first, first + count)
    ]


def write(folder: Path, samples: Samples, split: str = "train") -> Path:
    """Two shards of one half each."""
    folder.mkdir(exist_ok=True)
    half = len(samples) // 2
    write_shard(folder / f"{split}-000000.tar", samples[:half])
    write_shard(folder / f"{split}-000001.tar", samples[half:])
    return folder


def diagnose(path: Path, *options: str) -> list[Finding]:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    usual = [str(path), "--processes", "1", "--batch-size", "4"]
    return check.diagnose(parser.parse_args([*usual, *options]))[1]


def titles(found: list[Finding], severity: str = ERROR) -> list[str]:
    return [finding.title for finding in found if finding.severity == severity]


def the_error(found: list[Finding]) -> Finding:
    (error,) = [finding for finding in found if finding.severity == ERROR]
    return error


def damage(data: bytes, what: str) -> bytes:
    """A tar with one thing wrong."""
    if what == "header":
        return data[:5] + b"?" + data[6:]
    if what == "a later header":
        return data.replace(b"s3.jpg", b"s3.jpe", 1)
    return data[: len(data) // 2 // 512 * 512]
