"""Fixtures: a trainer that can be killed, and an unbroken run to compare with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from omni.config import Config
from tests.training.trainer import Trainer, tiny, write_world


@pytest.fixture(scope="session")
def trainer() -> Iterator[Trainer]:
    trainer = Trainer()
    yield trainer
    trainer.close()


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny(write_world(tmp_path_factory.mktemp("data") / "world"))


@pytest.fixture(scope="session")
def unbroken(trainer: Trainer, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing ever disturbed."""
    run = tmp_path_factory.mktemp("unbroken") / "runs/tiny"
    outcome = trainer(config, run)
    assert outcome.status == 0, outcome.said
    return run
