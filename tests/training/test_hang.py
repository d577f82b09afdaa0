"""A process that dies or freezes ends the others, and is named; the run can go on."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.layouts_child import NORMED, ROOT, Job, as_json, launch, metrics, tensors

TIMEOUT = 5.0
"""seconds without an answer, OMNI_TIMEOUT, in these runs"""
LOST = re.compile(r"of (\d) processes these do not answer: (\d) \(pid \d+ on \S+\)$", re.MULTILINE)
EXACT = {"deterministic": True, "save_every": 3}
WHOLE = Job("whole", encoder=NORMED, settings=EXACT | {"accumulate": 2})
"""one process for two: nothing in it can be lost"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def outcomes(runs: Path) -> dict[str, dict[str, Any]]:
    """What came of runs in which one of two processes is lost before the fifth step."""
    mesh = {"mesh": (2, 1, 1)}
    jobs = [
        Job(f"{name} {rank}", 2, action=name, rank=rank, step=4, timeout=timeout, settings=mesh)
        for name, timeout in (("SIGKILL", 600.0), ("SIGSTOP", TIMEOUT))
        for rank in (0, 1)
    ]
    return launch(runs, [*jobs, WHOLE])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_within_seconds(outcomes, rank: int) -> None:
    outcome = outcomes[f"SIGKILL {rank}"]
    assert outcome["statuses"][rank] == signal.SIGKILL
    assert outcome["statuses"][1 - rank] not in (0, signal.SIGKILL)  # an error, not a murder
    assert outcome["seconds"] < 5
    assert LOST.findall(outcome["said"]) == [("2", str(rank))]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_process_is_named_and_ends_all_in_time(outcomes, rank: int) -> None:
    outcome = outcomes[f"SIGSTOP {rank}"]
    assert outcome["statuses"][rank] == signal.SIGKILL  # by the other, as it can do nothing itself
    assert outcome["statuses"][1 - rank] not in (0, signal.SIGKILL)
    assert TIMEOUT - 1 < outcome["seconds"] < TIMEOUT + 15
    assert LOST.findall(outcome["said"]) == [("2", str(rank))]


def test_torchrun_starts_a_run_again_and_it_is_bitwise_the_unbroken_one(
    outcomes, runs: Path
) -> None:
    killed = replace(WHOLE, name="killed", settings=EXACT, action="SIGKILL", rank=1, step=5)
    file = runs / "torchrun.json"
    file.write_text(as_json([replace(killed, resume=True)]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "--max-restarts", "1"]
    command += ["-m", "tests.training.layouts_child", file]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert LOST.findall(done.stderr) == [("2", "1")]
    assert (runs / "killed.signal").exists()
    assert outcomes["whole"]["statuses"] == [0]
    expected, found = tensors(runs / "whole"), tensors(runs / "killed")
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert metrics(runs / "killed") == metrics(runs / "whole")


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 3])
def test_of_four_frozen_or_killed_processes_with_workers_nothing_is_left(
    rank: int, tmp_path: Path
) -> None:
    mesh = {"mesh": (2, 1, 2)}
    jobs = [
        Job(name, 4, action=name, rank=rank, step=4, timeout=timeout, settings=mesh, workers=1)
        for name, timeout in (("SIGKILL", 600.0), ("SIGSTOP", 10.0))
    ]
    for name, outcome in launch(tmp_path, jobs).items():
        assert outcome["statuses"][rank] == signal.SIGKILL
        assert outcome["seconds"] < (5 if name == "SIGKILL" else 25)
        named = {lost for _, lost in LOST.findall(outcome["said"])}
        assert named == {str(rank)}, outcome["said"]
