"""A leak is found, and what is none is not."""

import itertools
import random
from collections.abc import Callable

import pytest

from omni.training.leak import MOST, LeakGuard, resident

KB = 1e-3


def watch(memory: Callable[[int], float], steps: int, every: int) -> tuple[LeakGuard, list[str]]:
    guard, chance, warnings = LeakGuard(), random.Random(0), []
    for step in range(0, steps + 1, every):
        guard.add(step, memory(step) + chance.gauss(0, 1.0))
        warnings += [warning] if (warning := guard.warning()) else []
    return guard, warnings


@pytest.mark.parametrize("every", [1, 10])
def test_four_kilobytes_a_step_are_found_and_said_once(every: int) -> None:
    guard, warnings = watch(lambda step: 500 + 4 * KB * step, 4000, every)
    assert guard.slope() == pytest.approx(4, abs=0.5)
    assert len(warnings) == 1 and warnings[0].startswith("memory grows by")


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize(
    "memory",
    [
        lambda step: 500.0,
        lambda step: 500 + min(step, 400),  # warm-up
        lambda step: 500 - 2 * KB * step,
    ],
)
def test_what_does_not_grow_is_not_suspected(memory: Callable[[int], float], every: int) -> None:
    guard, warnings = watch(memory, 4000, every)
    slope = guard.slope()
    assert slope is not None and slope < 0.5
    assert warnings == []


@pytest.mark.parametrize("at", range(1000, 4000, 250))
def test_a_jump_is_no_leak(at: int) -> None:
    _, warnings = watch(lambda step: 500 + 80 * (step >= at), 4000, 10)
    assert warnings == []


def test_nothing_is_said_of_few_steps_or_points() -> None:
    for steps, every in ((900, 10), (4000, 400)):
        guard, warnings = watch(lambda step: 500 + 0.1 * step, steps, every)
        assert (guard.slope(), warnings) == (None, [])


def test_the_guard_does_not_leak() -> None:
    guard = LeakGuard()
    for step in range(20_000):
        guard.add(step, 500.0)
    assert MOST // 2 <= len(guard.points) < MOST
    steps = [step for step, _ in guard.points]
    assert {b - a for a, b in itertools.pairwise(steps)} == {guard.stride}


def test_memory_that_is_taken_is_resident() -> None:
    before = resident()
    taken = b"1" * 50_000_000
    assert 45 < resident() - before < 60
    del taken
