"""A made-up world of three senses, for tests and the `debug` preset: coloured shapes that sing.

It is written as a shard like any other, once, into the user's cache.

A sample is a shape in a colour at a random place, its name, and two tones: one for the colour, one
for the shape, both with random loudness and noise. In the world of questions its colour or its
shape is asked for, in the place of the name, of picture, recording or both.
"""

import io
import json
from dataclasses import replace

import numpy as np
import soundfile
import torch
from PIL import Image, ImageDraw

from omni.batch import Sample
from omni.pipeline.remote import cache_folder
from omni.pipeline.writer import write_shard

COLOURS = {"red": 0, "green": 120, "blue": 240, "yellow": 60, "purple": 290, "orange": 30}
SHAPES = ("circle", "square", "triangle", "bar")
RATE = 16_000
WORDS = {"colour": 0, "shape": 1}
"""what is asked for, and the word of the name that answers"""

VERSION = 1
"""another world is another folder"""


def synthetic_shards(world: str, split: str) -> str:
    """The folder in which the shard of a split lies, written where it does not yet."""
    folder = cache_folder() / f"{world}-{VERSION}"
    shard = folder / f"{split}-000000.tar"
    if not shard.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_shard(shard, ((s.key, _members(s)) for s in WORLDS[world](split)))
    return str(folder)


def _members(sample: Sample) -> dict[str, bytes]:
    """Losslessly: what is read is what was made."""
    members = {}
    if sample.image is not None:
        file = io.BytesIO()
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(file, "PNG")
        members["png"] = file.getvalue()
    if sample.audio is not None:
        file = io.BytesIO()
        soundfile.write(file, sample.audio.numpy(), RATE, "PCM_16", format="WAV")
        members["wav"] = file.getvalue()
    if sample.text is not None:
        members["txt"] = sample.text.encode()
    return members | {"json": json.dumps(sample.meta).encode()}


def make_samples(split: str, count: int = 480, size: int = 32) -> list[Sample]:
    """Samples of a split, a pure function of its name; every sixth lacks one of the senses."""
    return [_make_sample(split, index, size) for index in range(count)]


def make_questions(split: str, count: int = 480, size: int = 32) -> list[Sample]:
    """The same with questions; a third lacks the recording, a third the picture."""
    return [_ask(_make_sample(split, 6 * i + 1, size), i) for i in range(count)]


WORLDS = {"synthetic": make_samples, "synthetic-questions": make_questions}
"""what `data.path` may name"""


def _ask(sample: Sample, index: int) -> Sample:
    kind = [*WORDS][index % 2]
    answers, text = [sample.group.split()[WORDS[kind]]], f"what {kind} is it"
    lacking = ({"audio": None}, {"image": None}, {})[index % 3]
    meta = {"concept": sample.group, "answers": answers}
    return replace(sample, text=text, texts={"en": [text]}, answers=answers, meta=meta, **lacking)


def _make_sample(split: str, index: int, size: int) -> Sample:
    rng = np.random.default_rng((sum(map(ord, split)), index))
    colours = list(COLOURS)
    colour, shape = divmod(int(rng.integers(len(colours) * len(SHAPES))), len(SHAPES))
    name = f"{colours[colour]} {SHAPES[shape]}"
    missing = ("image", "audio", "text")[index % 18 // 6] if index % 6 == 0 else ""
    return Sample(
        key=f"{split}-{index:06d}",
        image=None if missing == "image" else _draw(COLOURS[colours[colour]], shape, size, rng),
        audio=None if missing == "audio" else _sing(colour, shape, rng),
        text=None if missing == "text" else name,
        group=name,
        texts={} if missing == "text" else {"en": [name]},
        meta={"concept": name},
    )


def _draw(hue: int, shape: int, size: int, rng: np.random.Generator) -> torch.Tensor:
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    ink = f"hsl({(hue + int(rng.integers(-8, 9))) % 360}, 90%, 45%)"
    half = size * rng.uniform(0.2, 0.35)
    x, y = rng.uniform(half, size - half, 2)
    box = (x - half, y - half, x + half, y + half)
    if shape == 0:
        draw.ellipse(box, fill=ink)
    elif shape == 1:
        draw.rectangle(box, fill=ink)
    elif shape == 2:
        draw.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=ink)
    else:
        draw.rectangle((x - half, y - half / 3, x + half, y + half / 3), fill=ink)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _sing(colour: int, shape: int, rng: np.random.Generator) -> torch.Tensor:
    """Two tones in a row: 300 ... 1,100 Hz for the colour, 1,500 ... 3,300 Hz for the shape."""
    time = np.arange(int(RATE * rng.uniform(0.18, 0.25))) / RATE
    tones = [np.sin(2 * np.pi * f * time) for f in (300 + 160 * colour, 1500 + 600 * shape)]
    wave = rng.uniform(0.2, 0.6) * np.concatenate(tones)
    wave = wave + 0.005 * rng.standard_normal(len(wave))
    return torch.from_numpy((wave * 32767).astype(np.int16))
