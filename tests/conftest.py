"""Fixtures: one small trained run for everything that needs a model."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import train
from omni.interface import Omni, load
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


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the `debug` preset, trained to its end."""
    run = tmp_path_factory.mktemp("runs") / "debug"
    train.train(PRESETS["debug"](), run)
    return run


@pytest.fixture(scope="session")
def tiny_model(tiny_run: Path) -> Omni:
    """The model of `tiny_run`."""
    return load(tiny_run)


@pytest.fixture(scope="session")
def asked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned to answer, beside the names of things; it neither draws nor speaks."""
    config, run = PRESETS["debug"](), tmp_path_factory.mktemp("runs") / "asked"
    data = replace(config.data, path=("synthetic", "synthetic-questions"))
    loss = replace(config.loss, image_flow=0.0, audio_flow=0.0, matching=0.0)
    settings = replace(config.train, save_every=150)
    train.train(replace(config, data=data, loss=loss, train=settings), run)
    return run
