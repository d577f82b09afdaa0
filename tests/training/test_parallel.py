"""However a run is spread over processes, it is the same run; and it can move between them.

The worst that was seen in ten steps: 1.5e-6 of a loss, 7e-7 of a weight, 1.1e-6 of a norm.
"""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.layouts_child import (
    BATCH,
    NORMED,
    STEPS,
    Job,
    keys,
    launch,
    metrics,
    tensors,
)

TOLERANCE = 1e-5
SAVED = 7
"""the step after which runs are moved; the contrast has its memory by then"""
LAYOUTS = {
    "copies": (2, 1, 1),
    "slices": (1, 2, 1),
    "copies of heads": (2, 1, 2),
}
LONG_LAYOUTS = {"heads": (1, 1, 2), "slices of heads": (1, 2, 2), "copies of slices": (2, 2, 1)}
EXACT = {"deterministic": True}
LORA = {"lora": 2, "lora_parts": ("shared", "text_decoder.blocks", "encoders.text.encoder")}


def job(name: str, mesh: tuple[int, int, int] = (1, 1, 1), **others: Any) -> Job:
    settings = {"mesh": mesh} | others.pop("settings", {})
    return Job(name, mesh[0] * mesh[1] * mesh[2], settings=settings, **others)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs of the short tests, made by one process and its forks."""
    folder = tmp_path_factory.mktemp("runs")
    moved, two = {"resume": True, "step": SAVED}, {"accumulate": 2}
    jobs = [
        job("one"),
        *(job(name, mesh) for name, mesh in LAYOUTS.items()),
        job("averaged twice", (2, 1, 1), action="average twice"),
        job("recomputed", settings={"recompute": True}),
        job("adapters", settings=LORA),
        job("slices of adapters", (1, 2, 1), settings=LORA),
        # From four processes to two, then to one, each of which saves what it has loaded.
        job("on two", (1, 2, 1), copy_of="copies of heads", action="save again", **moved),
        job("on one", copy_of="on two", action="save again", **moved),
        job("moved", copy_of="on one", **moved),
        # From one process to two and back, in the middle of an epoch.
        job("exact", encoder=NORMED, settings=EXACT | two),
        job("first", encoder=NORMED, settings=EXACT | two, action="SIGTERM", step=2),
        Job("then", 2, NORMED, EXACT, copy_of="first", resume=True, action="SIGTERM", step=5),
        job("last", encoder=NORMED, settings=EXACT | two, copy_of="then", resume=True),
        # One sample in each micro-batch, whose picture is one value a channel to the last norm.
        Job("lone", 2, NORMED, EXACT | {"accumulate": BATCH // 2, "steps": 1}),
        Job("lone on one", 1, NORMED, EXACT | {"accumulate": BATCH, "steps": 1}),
    ]
    for name, outcome in launch(folder, jobs).items():
        assert {*outcome["statuses"]} == {0}, (name, outcome["said"])
    return folder


def difference(one: Path, other: Path) -> dict[str, float]:
    """The largest of any loss of any step, of any weight, and of any norm of gradients.

    Norms are relative: what the optimizers make of a gradient does not depend on its scale.
    """
    expected, found = metrics(one), metrics(other)
    assert expected.keys() == found.keys() == {*range(1, STEPS + 1)}
    worst = {"loss": 0.0, "norm": 0.0, "weight": 0.0}
    for step, numbers in expected.items():
        assert numbers.keys() == found[step].keys()
        for name, number in numbers.items():
            error = abs(number - found[step][name])
            kind = "norm" if name.startswith("norm") else "loss"
            worst[kind] = max(worst[kind], error / number if kind == "norm" else error)
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    names = [n for n in a if not n.startswith(("optimizer/", "past/groups/"))]
    worst["weight"] = max(float((a[n] - b[n]).abs().max()) for n in names)
    return worst


def test_adapters_in_slices_are_the_same_run(runs: Path) -> None:
    found = difference(runs / "adapters", runs / "slices of adapters")
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_makes_the_same_run(layout: str, runs: Path) -> None:
    worst = difference(runs / "one", runs / layout)
    assert max(worst.values()) < TOLERANCE, worst


def test_training_moves_weights_by_more_than_the_tolerance(runs: Path) -> None:
    then, now = tensors(runs / "one", SAVED), tensors(runs / "one")
    moved = [float((then[n] - now[n]).abs().max()) for n in now if n.startswith("network/")]
    assert sum(m > 10 * TOLERANCE for m in moved) > 0.9 * len(moved)


def test_a_wrong_sum_of_gradients_is_found_out(runs: Path) -> None:
    """Control of `test_every_layout_makes_the_same_run`."""
    worst = difference(runs / "one", runs / "averaged twice")
    assert worst["norm"] == pytest.approx(0.5, abs=0.01)


def test_recomputing_activations_changes_nothing(runs: Path) -> None:
    worst = difference(runs / "one", runs / "recomputed")
    assert max(worst.values()) < 1e-6, worst


def test_a_checkpoint_is_the_same_bits_however_it_is_sliced(runs: Path) -> None:
    four = tensors(runs / "copies of heads", SAVED)
    assert {name.split("/")[0] for name in four} >= {"network", "optimizer", "past", "head.weight"}
    files = {}
    for name in ("copies of heads", "on two", "on one"):
        found = tensors(runs / name, SAVED)
        assert found.keys() == four.keys()
        assert [key for key in four if not torch.equal(four[key], found[key])] == []
        folder = runs / name / f"checkpoints/step-{SAVED:06d}"
        files[name] = len([*folder.glob("training-*.safetensors")])
    assert files == {"copies of heads": 4, "on two": 2, "on one": 1}
    # Control: another step has other bits.
    later = tensors(runs / "copies of heads")
    assert not torch.equal(four["network/head.weight"], later["network/head.weight"])


def test_a_run_goes_on_from_another_layout(runs: Path) -> None:
    worst = difference(runs / "one", runs / "moved")
    assert max(worst.values()) < TOLERANCE, worst


def test_from_one_process_to_two_and_back_is_bitwise_the_unbroken_run(runs: Path) -> None:
    expected, found = tensors(runs / "exact"), tensors(runs / "last")
    assert expected.keys() == found.keys()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert metrics(runs / "exact") == metrics(runs / "last")
    # Each part ended where the next began.
    steps = [len(metrics(runs / name)) for name in ("first", "then", "last")]
    assert steps == [3, 6, STEPS]


def test_from_one_process_to_two_and_back_each_sample_comes_once(runs: Path) -> None:
    expected, found = keys(runs / "exact"), {}
    for name in ("first", "then", "last"):
        for step, own in keys(runs / name).items():
            assert step not in found
            found[step] = own
    assert found == expected
    every = [key for own in found.values() for key in own]
    assert len({*every}) == len(every) == BATCH * STEPS  # not yet a whole epoch


def test_one_picture_in_a_micro_batch_trains_and_is_the_same_on_two_processes(runs: Path) -> None:
    expected, found = tensors(runs / "lone on one", 1), tensors(runs / "lone", 1)
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    (losses,) = metrics(runs / "lone").values()
    assert {loss.split("/")[0] for loss in losses} >= {"contrastive", "image_flow", "matching"}
    assert all(math.isfinite(number) for number in losses.values())


@pytest.mark.soak
@pytest.mark.parametrize("layout", LONG_LAYOUTS)
def test_every_product_of_layouts_makes_the_same_run(
    layout: str, runs: Path, tmp_path: Path
) -> None:
    (outcome,) = launch(tmp_path, [job(layout, LONG_LAYOUTS[layout], counts=True)]).values()
    assert {*outcome["statuses"]} == {0}, outcome["said"]
    worst = difference(runs / "one", tmp_path / layout)
    assert max(worst.values()) < TOLERANCE, worst


@pytest.mark.soak
def test_parameters_in_the_memory_of_the_cpu_make_the_same_run(runs: Path, tmp_path: Path) -> None:
    (outcome,) = launch(
        tmp_path, [job("offloaded", (1, 2, 1), settings={"offload": True})]
    ).values()
    assert {*outcome["statuses"]} == {0}, outcome["said"]
    worst = difference(runs / "one", tmp_path / "offloaded")
    assert max(worst.values()) < TOLERANCE, worst


@pytest.mark.soak
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_make_the_same_run(runs: Path, tmp_path: Path) -> None:
    (outcome,) = launch(tmp_path, [job("compiled", settings={"compile": True})]).values()
    assert outcome["statuses"] == [0], outcome["said"]
    worst = difference(runs / "one", tmp_path / "compiled")
    assert max(worst.values()) < TOLERANCE, worst
