"""A folder in which every line of the documents finds the files that it names."""

import json
import shutil
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

from data.prepare.__main__ import main as prepare
from omni import pretrained
from omni.batch import Sample
from omni.items import Audio, to_picture
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.pipeline.synthetic import make_samples
from omni.presets import debug
from tests.data.sound_miniatures import clotho
from tests.test_video import film

NUM_SAMPLES = 48
"""samples drawn; those that have all modalities come in a circle"""


def build(stage: Path) -> None:
    """Fill an empty folder: an untrained run, files, shards and data sets.

    What stands for a name in capitals (RUN, SHARDS) is a file or folder of that very name.
    """
    untrained(stage / "runs/demo/checkpoints/step-000430")
    for name in ("runs/stamps", "runs/pairs", "RUN", "MODEL"):
        (stage / name).symlink_to(stage / "runs/demo")
    samples = cycle([s for s in make_samples("test", NUM_SAMPLES) if is_complete(s)])
    files(stage, samples)
    for folder in ("pictures", "pictures/test", "pictures/val"):
        triplets(stage / folder, islice(samples, 4))
    (stage / "SOURCE").symlink_to(stage / "pictures")
    shards(stage)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (stage / "FOLDER" / split / label).mkdir(parents=True)
            for number, sample in enumerate(islice(samples, 2)):
                file = stage / "FOLDER" / split / label / f"{number}.png"
                picture(sample).save(file)
    copy_of_clotho(stage / "CLOTHO", samples)
    (stage / "ROOT").symlink_to(stage / "CLOTHO")
    submission(stage)


def is_complete(sample: Sample) -> bool:
    return None not in (sample.image, sample.audio, sample.text)


def untrained(folder: Path) -> None:
    """Write a checkpoint of the debug preset; what begins as zero is moved, or it draws grey."""
    config = debug()
    tokenizer = Tokenizer.train(["red circle", "blue square"], ["en", "en"], 300)
    torch.manual_seed(0)
    network = Network(config.model, tokenizer)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * torch.randn_like(weight)
    folder.mkdir(parents=True)
    pretrained.save(folder, config, tokenizer, network.state_dict())
    (folder / "state.json").write_text(json.dumps({"step": 430}))


def files(stage: Path, samples: Iterator[Sample]) -> None:
    """Write the pictures, recordings and lists that lines name one by one."""
    for name in ("picture", "apple", "pear", "plate", "around"):
        picture(next(samples)).save(stage / f"{name}.png")
    (stage / "recordings").mkdir()
    names = ["question.wav", "recordings/one.wav", "recordings/two.wav"]
    for name in names:
        sound(next(samples)).save(stage / name)
    (stage / "list-of-recordings.txt").write_text("\n".join(names) + "\n")
    (stage / "holiday.mp4").write_bytes(film([40, 120, 200], "mp4", 0.3))


def picture(sample: Sample) -> Image.Image:
    assert sample.image is not None
    return to_picture(sample.image)


def sound(sample: Sample) -> Audio:
    assert sample.audio is not None
    return Audio(sample.audio.numpy().astype(np.float32) / 32768, 16_000)


def triplets(folder: Path, samples: Iterator[Sample]) -> None:
    """Write pictures, recordings and captions of one name each."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        stem = folder / sample.key
        picture(sample).save(stem.with_suffix(".png"))
        sound(sample).save(stem.with_suffix(".wav"))
        stem.with_suffix(".txt").write_text(str(sample.text))


def shards(stage: Path) -> None:
    """Pack the pictures; the same shards under the names of all splits that lines ask for."""
    assert prepare(["pack", str(stage / "pictures"), str(stage / "shards"), "--processes=1"]) == 0
    for name in ("PATH", "OUT", "my/shards", "data/shards"):
        shutil.copytree(stage / "shards", stage / name)
    for name, splits in {
        "SHARDS": ("train", "val", "test", "test_clean"),
        "data/sample": ("train", "test", "new"),
        "data/stamps": ("train", "val", "test", "held"),
        "runs/clip/pairs": ("train", "test", "new"),
    }.items():
        (stage / name).mkdir(parents=True)
        for split in splits:
            copied = stage / name / f"{split}-000000.tar"
            shutil.copy(stage / "shards/train-000000.tar", copied)


def copy_of_clotho(folder: Path, samples: Iterator[Sample]) -> None:
    """Write the miniature of the recipe's tests, with recordings that can be decoded."""
    for record in clotho(folder):
        assert isinstance(record.audio, Path)
        soundfile.write(record.audio, sound(next(samples)).samples, 16_000)


def submission(stage: Path) -> None:
    """Write the answers of MUGE's retrieval task, and a prediction that has them all."""
    answers = {"query_id": 1, "query_text": "红 裙", "item_ids": [*range(10)]}
    for name in ("TRUTH", "PREDICTION"):
        (stage / f"{name}.jsonl").write_text(json.dumps(answers, ensure_ascii=False) + "\n")
