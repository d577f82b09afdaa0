"""How many threads compute: as many as the environment says, and no more than there are cores."""

import os

import pytest

from omni.encoding import pick_threads


def test_the_environment_says_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    for told, expected in (("3", 3), ("5,2", 5), ("0", cores), ("many", cores), ("", cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert pick_threads() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert pick_threads() == cores
