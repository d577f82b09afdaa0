"""A step that is not sound is lost, and nothing else is; five in a row, and the run goes back."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import train
from omni.config import Config
from omni.pipeline.synthetic import make_samples
from omni.training.manifest import list_checkpoints
from tests.training.poison import PLAN, STEPS, Faults, config, learned, skip_by_hand

SHARD = "train-000000.tar"


class Run(NamedTuple):
    """What is left of a run."""

    folder: Path
    positions: list[int]
    victims: dict[int, str]
    """names of the poisoned samples by position, found by their content"""

    def lines(self, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / file).read_text().splitlines()]

    def state(self) -> dict[str, Any]:
        return json.loads((list_checkpoints(self.folder)[-1] / "state.json").read_text())


def go(folder: Path, kinds: dict[int, str], settings: Config | None = None, resume=False) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(kinds, patch)
        try:
            train.train(settings or config(), folder, resume)
        except InterruptedError:
            assert "break" in kinds.values()
    victims = {position: name_of(content) for position, (_, content) in faults.victims.items()}
    return Run(folder, faults.positions, victims)


def name_of(content: Tensor) -> str:
    """The one sample of the made-up world that has this picture, or begins with this sound."""
    picture = content.ndim == 3
    every = [(s.key, s.image if picture else s.audio) for s in make_samples("train")]
    found = [
        key
        for key, x in every
        if x is not None and torch.equal(x if picture else x[: len(content)], content)
    ]
    assert len(found) == 1
    return f"{SHARD}/{found[0]}"


def assert_same(a: Run, b: Run) -> None:
    """Weights, moments, averages, statistics, the contrast's memory and the window of norms."""
    ours, theirs = learned(a.folder), learned(b.folder)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    for name in ("step", "position", "loader"):
        assert a.state()[name] == b.state()[name]
    assert a.state()["recorder"]["norms"] == b.state()["recorder"]["norms"]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return go(tmp_path_factory.mktemp("runs") / "poisoned", PLAN)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What the poisoned run must come to: from step 3 it goes on with position 9."""
    with pytest.MonkeyPatch.context() as patch:
        skip_by_hand({1, 10, 14}, {3: 9}, patch)
        return go(tmp_path_factory.mktemp("runs") / "by-hand", {})


def test_what_is_not_sound_costs_its_step_and_changes_nothing_else(
    poisoned: Run, by_hand: Run
) -> None:
    assert_same(poisoned, by_hand)
    found = learned(poisoned.folder)
    assert all(x.isfinite().all() for x in found.values())
    for kind in ("running_mean", "optimizer/momentum", "optimizer/exp_avg", "past/vectors"):
        assert any(kind in name for name in found)  # the comparison is not of nothing


def test_without_a_fault_the_run_is_another(poisoned: Run, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        skip_by_hand((), {3: 9}, patch)
        other = go(tmp_path / "run", {})
    with pytest.raises(AssertionError):
        assert_same(poisoned, other)


def test_an_incident_names_what_was_wrong_and_the_samples(poisoned: Run) -> None:
    picture, *gradients, back, loss, sound = poisoned.lines("incidents.jsonl")
    assert [picture["step"], picture["kind"]] == [2, "non-finite loss"]
    assert "contrastive/image-text" in picture["what"]
    # A batch norm mixes the pictures of a micro-batch: each of those is under suspicion.
    assert poisoned.victims[1] in picture["samples"] and 1 < len(picture["samples"]) <= 8
    assert [g["step"] for g in gradients] == [5, 6, 7, 8, 9]
    assert all(g["kind"] == "non-finite gradient" for g in gradients)
    assert all(g["what"] == ["matching"] and g["norm"] is None for g in gradients)
    assert [back["step"], back["kind"], back["to"]] == [9, "rolled back", 3]
    assert [loss["step"], loss["kind"], loss["what"]] == [5, "non-finite loss", ["image_flow"]]
    assert len({*loss["samples"]}) > 16  # all of them: their vectors are sound
    assert [sound["step"], sound["samples"]] == [9, [poisoned.victims[14]]]


def test_a_picture_is_named_alone_where_no_batch_norm_mixes(tmp_path: Path) -> None:
    run = go(tmp_path / "run", {1: "image"}, config(3, "test_vit"))
    (incident,) = run.lines("incidents.jsonl")
    assert incident["samples"] == [run.victims[1]]


def test_after_five_in_a_row_the_run_goes_back_and_on_with_other_samples(poisoned: Run) -> None:
    assert poisoned.positions == [*range(STEPS + 6)]
    assert [poisoned.state()[name] for name in ("step", "position")] == [STEPS, STEPS + 6]
    metrics = poisoned.lines("metrics.jsonl")
    assert [line["step"] for line in metrics] == [*range(1, STEPS + 1)]
    lost = [line["step"] for line in metrics if line["norm"] is None or line["loss"] is None]
    assert lost == [2, 5, 9]  # and what was undone is not told of


def test_a_run_killed_around_a_roll_back_goes_on_the_same(poisoned: Run, tmp_path: Path) -> None:
    """Before it, between it and the next checkpoint, and after that one."""
    begun = []
    for kinds in ({7: "break"}, {10: "break"}, {13: "break"}, {}):
        killed = go(tmp_path / "run", PLAN | kinds, resume=bool(begun))
        begun.append(killed.positions[0])
    assert begun == [0, 3, 3, 12]
    assert_same(killed, poisoned)
    assert killed.lines("incidents.jsonl") == poisoned.lines("incidents.jsonl")
    numbers = ("step", "loss", "norm", "lr", "scale")
    ours, theirs = (
        [[line[name] for name in numbers] for line in run.lines("metrics.jsonl")]
        for run in (killed, poisoned)
    )
    assert ours == theirs


def in_two_processes(folder: Path, share: str) -> Run:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.training.poison", str(folder), share]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "OMNI_TIMEOUT": "60"}
    result = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return Run(folder, [], {})


def test_a_nan_in_one_process_skips_the_step_in_all(poisoned: Run, tmp_path: Path) -> None:
    pair = in_two_processes(tmp_path / "run", "data")
    assert_same(pair, poisoned)
    assert pair.lines("incidents.jsonl") == poisoned.lines("incidents.jsonl")


@pytest.mark.soak
def test_a_nan_in_what_two_processes_hold_alike_skips_the_step_in_both(tmp_path: Path) -> None:
    run = in_two_processes(tmp_path / "run", "tensor")
    (incident,) = run.lines("incidents.jsonl")
    assert [incident["step"], incident["kind"]] == [3, "non-finite gradient"]
    assert run.state()["step"] == 4
    assert all(x.isfinite().all() for x in learned(run.folder).values())


def test_without_a_checkpoint_there_is_nowhere_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step 5: 5 steps in a row .* there is no checkpoint"):
        go(tmp_path / "run", dict.fromkeys(range(5), "loss"), config(accumulate=1))


def test_a_run_that_stays_unsound_gives_up_after_three_roll_backs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step 8: 5 steps in a row .* gone back 3 times"):
        go(tmp_path / "run", dict.fromkeys(range(3, 99), "loss"), config(accumulate=1))
    kinds = [line["kind"] for line in Run(tmp_path / "run", [], {}).lines("incidents.jsonl")]
    assert kinds == [*["non-finite loss"] * 5, "rolled back"] * 3 + ["non-finite loss"] * 5


def test_a_signal_in_an_unsound_step_saves_too(tmp_path: Path) -> None:
    """Also in one after which a checkpoint would be due, were it sound."""
    settings = config(4, accumulate=1)
    whole = go(tmp_path / "whole", {2: "loss"}, settings)
    first = go(tmp_path / "run", {2: "loss stop"}, settings)
    assert list_checkpoints(first.folder)[-1].name == "step-000003"
    assert_same(go(tmp_path / "run", {2: "loss"}, settings, resume=True), whole)


def test_a_spike_is_skipped_and_does_not_poison_what_follows(tmp_path: Path) -> None:
    settings = config(48, "test_vit", accumulate=1)
    contrast = replace(settings.loss, next_token=0, image_flow=0, audio_flow=0)
    settings = replace(settings, loss=contrast)
    run = go(tmp_path / "run", {16: "spike"}, settings)
    (incident,) = run.lines("incidents.jsonl")
    assert [incident["step"], incident["kind"]] == [17, "spike"]
    assert incident["norm"] > 20 * incident["median"]
    with pytest.MonkeyPatch.context() as patch:
        skip_by_hand({16}, {}, patch)
        by_hand = go(tmp_path / "by-hand", {}, settings)
    assert_same(run, by_hand)
    assert len(run.state()["recorder"]["norms"]) == 47
    assert not (by_hand.folder / "incidents.jsonl").exists()
