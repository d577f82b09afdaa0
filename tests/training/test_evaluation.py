"""A run that measures itself: when, what is kept of it, and that it does not touch the result."""

import dataclasses
import json
from pathlib import Path

import pytest

import train
from omni.config import EvaluateConfig
from omni.training import evaluation
from omni.training.manifest import list_checkpoints
from tests.training.trainer import tiny, write_world


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps at which a run of seven steps was measured, three apart, saving every four."""
    steps: list[int] = []

    def evaluate(run: Path, step: int, config: object, stop: object) -> dict[str, float]:
        assert list_checkpoints(run)[-1].name == f"step-{step:06d}"
        steps.append(step)
        return {"test/retrieval/image->text/R@1": step / 10}

    monkeypatch.setattr(train, "evaluate", evaluate)
    config = tiny(write_world(tmp_path / "world"))
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, steps=7),
        evaluate=EvaluateConfig(every=3),
    )
    assert train.train(config, tmp_path / "run")
    return steps


def test_a_run_is_measured_at_checkpoints_made_for_that(measured, tmp_path) -> None:
    assert measured == [3, 6]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    told = {line["step"]: line[name] for line in lines for name in line if "retrieval" in name}
    assert told == {3: 0.3, 6: 0.6}
    assert [line["step"] for line in lines] == [1, 2, 3, 3, 4, 5, 6, 6, 7]


def test_an_evaluation_that_fails_is_told_and_gives_nothing(tmp_path, capsys) -> None:
    config = dataclasses.replace(tiny("nowhere"), evaluate=EvaluateConfig(every=3))
    assert evaluation.evaluate(tmp_path, 3, config) == {}
    assert "not evaluated at step 3: eval: " in capsys.readouterr().err


def test_an_evaluation_ends_when_the_run_is_told_to_stop(tmp_path, capsys) -> None:
    config = dataclasses.replace(tiny("nowhere"), evaluate=EvaluateConfig(every=3))
    assert evaluation.evaluate(tmp_path, 3, config, lambda: True) == {}
    assert "not evaluated at step 3: the run was told to stop" in capsys.readouterr().err


def test_curves_are_of_the_model_alone_and_one_of_a_direction() -> None:
    assert evaluation.is_shown("test/retrieval/image->text/R@1")
    assert evaluation.is_shown("new/caption/image->text/CER")
    for other in ("untrained/test/caption/image->text/CER", "test/retrieval/image->text/R@5"):
        assert not evaluation.is_shown(other)
