"""Training does not grow: two thousand steps with loader, log and recorder."""

import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import train
from omni.training import log
from omni.training.leak import LIMIT, resident
from tests.training.poison import config

STEPS, LEAK = 2000, 4096
HEAP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""of glibc: by itself it shares out and keeps memory as chance will have it, by megabytes"""


def assert_steady(run: Path, leak: int) -> None:
    """A process of its own trains: what the other tests have left behind is not in its memory."""
    command = [sys.executable, "-m", "tests.training.test_memory", str(run), str(leak)]
    settings = os.environ | {"OMP_NUM_THREADS": "1"} | HEAP
    result = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    print(f"{last['rss slope']:.2f} MB in 1,000 steps, leak of {leak} bytes a step")
    assert last["step"] == STEPS
    assert last["rss slope"] < LIMIT


@pytest.mark.soak
def test_memory_does_not_grow(tmp_path: Path) -> None:
    assert_steady(tmp_path / "run", 0)


@pytest.mark.soak
def test_four_kilobytes_a_step_are_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"< 1\.0"):
        assert_steady(tmp_path / "run", LEAK)


def leak(size: int) -> None:
    """From now on every step keeps so many bytes."""
    kept, original = [], train.Training._step

    def step(training, batches):
        kept.append(b"x" * size)
        return original(training, batches)

    train.Training._step = step


def in_use() -> float:
    """Resident memory without garbage, and without what is free in the heap.

    Cycles wait for thousands of steps for Python to collect them, and what is free a leak would
    fill unseen.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


if __name__ == "__main__":
    log.resident = in_use
    small = config(STEPS, "test_vit", accumulate=1)
    settings = replace(small.train, log_every=25, save_every=500)
    if int(sys.argv[2]):
        leak(int(sys.argv[2]))
    data = replace(small.data, batch_size=4, extra_texts=2)
    loss = replace(small.loss, memory=64)  # the contrast's: 4096 would grow until the end
    train.train(replace(small, data=data, loss=loss, train=settings), Path(sys.argv[1]))
