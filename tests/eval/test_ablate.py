"""The table of what each objective is worth; the runs themselves are made by other programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eval import ablate
from omni.presets import demo


def test_every_objective_is_switched_once() -> None:
    found = ablate.variants(demo(), [])
    assert found.pop("") is None
    assert {"contrastive", "matching", "masked", "dropping", "image_flow"} <= found.keys()
    assert "memory" not in found
    for name, weight in found.items():
        assert bool(weight) != bool(getattr(demo().loss, name)), name
    assert [*ablate.variants(demo(), ["joint"])] == ["", "joint"]
    with pytest.raises(ValueError, match=r"objective must be of contrastive, .*; got 'memory'"):
        ablate.variants(demo(), ["memory"])


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run; an evaluation leaves figures that grow with the number of steps."""
    ran: list[list[str]] = []

    def pretend(command: list[str], check: bool) -> None:
        ran.append(command[1:])
        if "eval.run" in command:
            steps = int(ran[-2][ran[-2].index("--train.steps") + 1])
            values = {name: {"value": steps / 1000} for name in ablate.FIGURES.values()}
            if steps == 150:  # not trained for it: without a figure
                del values[ablate.FIGURES["five-way"]]
            folder = Path(command[3])
            folder.mkdir(parents=True)
            (folder / "results.json").write_text(json.dumps({"results": values}))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", pretend)
    paces = iter([[(2.0, 8e9), (1.0, 4e9)], [(4.0, 8e9), (1.0, 2e9)]])
    monkeypatch.setattr(ablate, "compare_steps", lambda configs, device: next(paces))
    return ran


def test_all_train_for_the_same_time_and_nothing_is_done_twice(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ablate", "demo", "joint", "--minutes", "5"])
    ablate.main()
    trained = [command for command in commands if command[0] == "train.py"]
    steps = [command[command.index("--train.steps") + 1] for command in trained]
    assert steps == ["150", "300"]  # at 2 s and at 1 s
    assert "--loss.joint" not in trained[0]
    assert trained[1][trained[1].index("--loss.joint") + 1] == "0.0"
    written = Path("runs/ablate/demo.md").read_text().splitlines()
    whole, without = [line.split("|") for line in written if line.startswith("|")][-2:]
    assert [cell.strip() for cell in whole[1:6]] == ["all", "2.00", "8", "150", "15.0"]
    assert [cell.strip() for cell in without[1:6]] == ["joint 0", "1.00", "4", "300", "+15.0"]
    five_way = 1 + 4 + [*ablate.FIGURES].index("five-way")  # after the name and what it cost
    assert [line[five_way].strip() for line in (whole, without)] == ["", "30.0"]
    done = len(commands)
    ablate.main()
    assert len(commands) == done
    assert "python train.py demo --name ablate/demo-whole" in capsys.readouterr().out
    # Twice as slow a machine: what is new is told in the pace of the first time.
    monkeypatch.setattr(sys, "argv", ["ablate", "demo", "within", "--minutes", "5"])
    ablate.main()
    assert commands[-2][commands[-2].index("--train.steps") + 1] == "600"
