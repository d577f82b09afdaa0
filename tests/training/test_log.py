"""metrics.jsonl after kills is that of the unbroken run, in strict JSON; trackers are told too."""

import json
import math
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from omni.training.log import Log

LOST = {"waiting": 0.0, "saving": 0.0}
MEASURED = {"seconds", "samples/s", "waiting", "saving", "mfu", "rss slope"}


def train(run: Path, first: int, last: int, steps: int = 20, **arguments: Any) -> Log:
    """Logs every second step. The log stays open, as after a kill."""
    run.mkdir(exist_ok=True)
    log = Log(run, first, steps, 8, **arguments)
    for step in range(first + 1, last + 1):
        log.advance()
        if step % 2 == 0:
            log.record(step, {"loss": torch.tensor(1 / step), "lr": 0.1 * step}, LOST, 0.001)
    return log


def lines(run: Path) -> list[dict[str, Any]]:
    text = (run / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def facts(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines(run)]


def close(*logs: Log) -> None:
    for log in logs:
        log.__exit__(None, None, None)


def test_after_kills_the_file_is_that_of_the_unbroken_run(tmp_path: Path) -> None:
    logs = [train(tmp_path / "whole", 0, 20), train(tmp_path / "killed", 0, 9)]
    file = tmp_path / "killed/metrics.jsonl"
    for first, last in ((6, 13), (10, 10), (10, 20)):
        with file.open("a") as torn:
            torn.write('{"step": 8, "loss": 0.')
        logs.append(train(tmp_path / "killed", first, last))
    assert facts(tmp_path / "killed") == facts(tmp_path / "whole")
    assert [line["step"] for line in lines(tmp_path / "whole")] == [*range(2, 21, 2)]
    assert {*lines(tmp_path / "whole")[0]} >= MEASURED - {"rss slope"}
    assert [path.name for path in (tmp_path / "killed").glob(".*")] == []
    close(*logs)


def test_lines_that_stay_are_not_written_again(tmp_path: Path) -> None:
    close(train(tmp_path, 0, 8))
    before = (tmp_path / "metrics.jsonl").stat()
    close(train(tmp_path, 8, 8))
    after = (tmp_path / "metrics.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_run_that_rolls_back_says_each_step_once(tmp_path: Path) -> None:
    log = train(tmp_path, 0, 9)
    log.rewind(4)
    log.record(6, {"loss": 7.0}, {})
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6]
    assert lines(tmp_path)[-1]["loss"] == 7.0
    assert log.progress.tasks[0].completed == 4
    close(log)


def test_without_a_terminal_each_record_is_a_whole_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    close(train(tmp_path, 0, 6))
    told = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in told] == [
        ["step 2/20", "loss 0.5"],
        ["step 4/20", "loss 0.25"],
        ["step 6/20", "loss 0.1667"],
    ]
    assert all(re.search(r"  [\d.e+]+ samples/s  0:00:\d\d left$", line) for line in told)


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    log = train(tmp_path, 0, 0)
    log.record(1, {"loss": torch.tensor(math.nan), "norm": math.inf, "low": -math.inf}, {})
    told = lines(tmp_path)[0]
    assert (told["loss"], told["norm"], told["low"]) == (None, None, None)
    close(log)


def scalars(run: Path, name: str) -> dict[int, float]:
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    return {event.step: event.value for event in board.Scalars(name)}


def test_tensorboard_keeps_the_step_that_was_resumed_from(tmp_path: Path) -> None:
    close(train(tmp_path, 0, 8))
    close(train(tmp_path, 4, 6))
    assert scalars(tmp_path, "lr") == pytest.approx({2: 0.2, 4: 0.4, 6: 0.6})


def test_other_ranks_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with train(tmp_path, 0, 6, write=False, tracker="wandb") as log:
        log.rewind(2)
        log.record(4, {"loss": 1.0}, {})
    assert [*tmp_path.iterdir()] == []
    assert capsys.readouterr() == ("", "")


def test_a_full_disk_costs_a_line_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, write = train(tmp_path, 0, 2), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:5]))
        log.record(4, {"loss": 1.0}, {})
    assert "a line is lost: [Errno 28]" in capsys.readouterr().err
    log.record(6, {"loss": 1.0}, {})
    assert [line["step"] for line in lines(tmp_path)] == [2, 6]
    close(log)


def test_a_board_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with train(tmp_path, 0, 2) as log:
        monkeypatch.setattr(log.board, "add_scalar", fail)
        log.record(4, {"loss": 1.0}, {})
        log.record(6, {"loss": 1.0}, {})
    assert capsys.readouterr().err.count("from step 4 in metrics.jsonl only: [Errno 28]") == 1
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6]


class Tracked:
    """Stands for wandb and for the run that it gives."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def init(self, **arguments: Any) -> "Tracked":
        self.told.append(arguments)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        self.told.append((name, step_metric))

    def log(self, numbers: dict[str, float]) -> None:
        self.told.append(numbers)

    def finish(self, exit_code: int) -> None:
        self.told.append(exit_code)


def test_wandb_is_told_the_same_numbers_and_resumes_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Tracked()
    module = ModuleType("wandb")
    monkeypatch.setattr(module, "init", service.init, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    close(train(tmp_path, 0, 4, tracker="wandb"))
    with pytest.raises(KeyError), train(tmp_path, 4, 4, tracker="wandb"):
        raise KeyError
    start, metric, two, four, ended, again, _, failed = service.told
    assert start == again and start["name"] == tmp_path.name and start["id"]
    assert (metric, ended, failed) == (("*", "step"), 0, 1)
    for told, line in zip((two, four), lines(tmp_path), strict=True):
        assert told == {k: v for k, v in line.items() if k != "seconds"}


def test_a_tracker_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[wandb\]'"):
        Log(tmp_path, 0, 10, 8, "wandb")
    with pytest.raises(ValueError, match="must be 'wandb' or '', got 'mlflow'"):
        Log(tmp_path, 0, 10, 8, "mlflow")
    assert [*tmp_path.iterdir()] == []
