"""Fixtures: one small trained run for everything that needs a model."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from PIL import Image

import train
from omni.config import Config
from omni.interface import Omni, load
from omni.items import Audio, to_picture
from omni.pipeline.synthetic import make_samples
from omni.presets import PRESETS


@pytest.fixture(scope="session", autouse=True)
def no_more_threads_than_cores() -> None:
    """Of this process and of those that it starts, where xdist runs several of it as well.

    More threads than cores are several times slower.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = max(1, min(2, len(os.sched_getaffinity(0)) // workers))
    torch.set_num_threads(threads)
    if workers > 1:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def _asked() -> Config:
    config = PRESETS["debug"]()
    return replace(
        config,
        data=replace(config.data, path=("synthetic", "synthetic-questions")),
        loss=replace(config.loss, image_flow=0.0, audio_flow=0.0, matching=0.0),
        train=replace(config.train, save_every=150),
    )


RUNS = {"debug": PRESETS["debug"], "asked": _asked}


def trained(factory: pytest.TempPathFactory, name: str) -> Path:
    """A copy, for this process alone, of a run that all processes of xdist train once.

    Who would have to wait for another's training begins with the next.
    """
    several = "PYTEST_XDIST_WORKER" in os.environ
    shared = factory.getbasetemp().parent if several else factory.getbasetemp()
    for each in (name, *(RUNS.keys() - {name})):
        try:
            with FileLock(shared / f"{each}.lock", blocking=False):
                if not (shared / f"{each}.done").exists():
                    train.train(RUNS[each](), shared / f"trained-{each}")
                    (shared / f"{each}.done").touch()
                break
        except Timeout:
            continue
    with FileLock(shared / f"{name}.lock"):
        return shutil.copytree(shared / f"trained-{name}", factory.mktemp("runs") / name)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the `debug` preset, trained to its end."""
    return trained(tmp_path_factory, "debug")


@pytest.fixture(scope="session")
def tiny_model(tiny_run: Path) -> Omni:
    """The model of `tiny_run`."""
    return load(tiny_run)


@pytest.fixture(scope="session")
def asked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned to answer, beside the names of things; it neither draws nor speaks."""
    return trained(tmp_path_factory, "asked")


@pytest.fixture(scope="session")
def triplets() -> tuple[list[Image.Image], list[Audio], list[str]]:
    """One example of each kind of thing that the tiny model knows."""
    made = make_samples("test", 120)
    by_name = {s.text: s for s in made if None not in (s.image, s.audio, s.text)}
    images = [to_picture(s.image) for s in by_name.values()]
    sounds = [Audio(s.audio.numpy().astype(np.float32) / 32768, 16_000) for s in by_name.values()]
    return images, sounds, [*by_name]
