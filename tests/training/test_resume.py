"""A resumed run is the run; what has changed, is damaged or is in use is refused by name."""

import json
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omni.config import Config
from omni.modality.text import Tokenizer
from omni.pipeline.assemble import KEY, draw_numbers
from omni.pipeline.dataset import Dataset
from omni.pipeline.plan import WINDOW, Pick, Plan
from omni.training import manifest
from omni.training.manifest import list_checkpoints
from omni.training.schedule import learning_rate
from tests.training.trainer import (
    BATCH,
    SAMPLES,
    STEPS,
    Outcome,
    Trainer,
    differences,
    is_same,
    metrics,
    read_lines,
    write_world,
)

WHOLE_EPOCHS = WINDOW * BATCH // SAMPLES
"""those of a window, within which samples are sorted by length"""


def names(run: Path) -> list[str]:
    return [folder.name for folder in list_checkpoints(run)]


def copy(unbroken: Path, run: Path, *, last: int = STEPS) -> Path:
    """The unbroken run, killed after the checkpoint of a step."""
    shutil.copytree(unbroken, run)
    for folder in list_checkpoints(run):
        if manifest.step_of(folder) > last:
            shutil.rmtree(folder)
    return run


def with_train(config: Config, **changes: object) -> Config:
    return replace(config, train=replace(config.train, **changes))


def with_workers(config: Config, workers: int) -> Config:
    return replace(config, data=replace(config.data, workers=workers))


def test_a_resume_at_any_turning_point_changes_nothing(trainer, config, unbroken, tmp_path) -> None:
    run = tmp_path / "runs/turns"
    kills = [
        (2, "update"),  # before the first save: it begins again
        (6, "before"),  # goes on where the warm-up ends
        (5, "log"),  # a resume of a resume
        (9, "before"),  # goes on where an epoch ends
        (12, "update"),  # all but saved
    ]
    for kill in kills:
        assert trainer(config, run, "--resume", at=[kill]).status == -9
    assert trainer(config, run, "--resume").status == 0
    assert is_same(run, unbroken)


def test_a_finished_run_is_left_as_it_is(trainer, config, unbroken, tmp_path) -> None:
    run = copy(unbroken, tmp_path / "runs/finished")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for flags in ((), ("--resume",)):
        outcome = trainer(config, run, *flags)
        assert outcome.status == 0 and "is finished" in outcome.said
        assert "goes on with --resume and more --train.steps than 12" in outcome.said
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    del before[run / ".lock"], after[run / ".lock"]
    assert after == before


def test_accumulated_steps_resume_bitwise(trainer, config, tmp_path) -> None:
    accumulating = with_train(config, accumulate=2)
    whole, run = tmp_path / "runs/whole", tmp_path / "runs/killed"
    assert trainer(accumulating, whole).status == 0
    assert trainer(accumulating, run, at=[(6, "backward")]).status == -9
    assert trainer(accumulating, run, "--resume").status == 0
    assert is_same(run, whole)


def test_any_number_of_workers_goes_on_with_every_sample_once(
    trainer, config, unbroken, tmp_path
) -> None:
    """0, then 1 from the fourth step on, then 3 from the seventh: both in mid-epoch."""
    run = tmp_path / "runs/workers"
    assert trainer(config, run, at=[(3, "terminate")]).status == 75
    assert trainer(with_workers(config, 1), run, "--resume", at=[(6, "terminate")]).status == 75
    assert trainer(with_workers(config, 3), run, "--resume").status == 0
    assert is_same(run, unbroken)
    whole = [(epoch, number) for epoch in range(WHOLE_EPOCHS) for number in range(SAMPLES)]
    assert count_samples(config, run) == dict.fromkeys(whole, 1)


def count_samples(config: Config, run: Path) -> Counter[tuple[int, int]]:
    """How often each sample of the whole epochs was trained on, by the keys in the batches."""
    plan = Plan(config.data, config.train.seed, [Dataset(config.data.path[0], "train")])
    epochs = range(WHOLE_EPOCHS)
    picks = [Pick(0, epoch, number, 0) for epoch in epochs for number in range(SAMPLES)]
    keys = draw_numbers(plan.seed, picks)[:, KEY].view(np.int64).tolist()
    known = {key: (p.epoch, p.number) for key, p in zip(keys, picks, strict=True)}
    lines = read_lines(run / "trail.jsonl")[: WHOLE_EPOCHS * SAMPLES // BATCH]
    return Counter(known[key] for line in lines for key in line["keys"][:BATCH])


def test_sigterm_saves_at_once_and_says_that_it_can_go_on(
    trainer, config, unbroken, tmp_path
) -> None:
    run = tmp_path / "runs/told"
    assert trainer(config, run, at=[(5, "terminate")]).status == 75
    assert names(run) == ["step-000004", "step-000005"]
    assert trainer(config, run, "--resume", at=[(8, "terminate")]).status == 75
    assert names(run)[-1] == "step-000008"
    assert trainer(config, run, "--resume").status == 0
    assert is_same(run, unbroken)


def test_the_first_interrupt_saves_and_the_second_ends_at_once(
    trainer, config, unbroken, tmp_path
) -> None:
    run = tmp_path / "runs/interrupted"
    outcome = trainer(config, run, at=[(5, "interrupt")])
    assert outcome.status == 75
    assert "has stopped after step 5: go on with --resume" in outcome.said
    assert "Ctrl-C again ends it at once" in outcome.said and "Traceback" not in outcome.said
    assert names(run) == ["step-000004", "step-000005"]
    outcome = trainer(config, run, "--resume", at=[(7, "interrupt interrupt")])
    assert outcome.status == -signal.SIGINT and "Traceback" not in outcome.said
    assert names(run)[-1] == "step-000005"
    assert trainer(config, run, "--resume").status == 0
    assert is_same(run, unbroken)


def test_a_second_trainer_is_refused_and_the_first_unharmed(
    trainer, config, unbroken, tmp_path
) -> None:
    run = tmp_path / "runs/taken"
    outcome = trainer(config, run, at=[(5, "stop")])
    assert outcome.status == 0, outcome.said
    second = outcome.beside
    assert second and second.status == 1
    assert f"{run.name} is being trained by process" in second.said
    assert is_same(run, unbroken)


def refused(outcome: Outcome, *words: str) -> None:
    assert outcome.status == 1, outcome.said
    for word in words:
        assert word in outcome.said


def test_an_unfinished_run_is_not_started_afresh(trainer, config, unbroken, tmp_path) -> None:
    run = copy(unbroken, tmp_path / "runs/half", last=8)
    refused(trainer(config, run), "add --resume")
    assert names(run) == ["step-000008"]


def test_a_finished_run_goes_on_for_more_steps(trainer, config, unbroken, tmp_path) -> None:
    """Without --changed: to train for longer is no other run. Nor is it called unfinished."""
    run, more = copy(unbroken, tmp_path / "runs/more"), with_train(config, steps=STEPS + 2)
    refused(trainer(more, run), "holds a finished run, at step 12: add --resume")
    refused(trainer(with_train(more, lr=1.0), run, "--resume"), "train.lr: was 0.004, is 1.0")
    outcome = trainer(more, run, "--resume")
    assert outcome.status == 0, outcome.said
    assert "from step 12 of 14, not 12: the learning rate is now 0.000382" in outcome.said
    assert [metrics(run)[step]["lr"] for step in (12, 13, 14)] == [
        learning_rate(STEPS - 1, 4e-3, 4, STEPS),
        learning_rate(STEPS, 4e-3, 4, STEPS + 2),
        learning_rate(STEPS + 1, 4e-3, 4, STEPS + 2),
    ]
    half = copy(unbroken, tmp_path / "runs/half-way", last=8)
    refused(trainer(more, half, "--resume"), "train.steps: was 12, is 14")


def test_another_batch_size_goes_on_with_the_samples_that_have_not_come(
    trainer, config, unbroken, tmp_path
) -> None:
    run = copy(unbroken, tmp_path / "runs/larger", last=8)
    larger = replace(config, data=replace(config.data, batch_size=2 * BATCH))
    refused(trainer(larger, run, "--resume"), "data.batch_size: was 8, is 16")
    assert trainer(larger, run, "--resume", "--changed", at=[(10, "interrupt")]).status == 75
    state = json.loads((list_checkpoints(run)[-1] / "state.json").read_text())
    assert state["loader"]["position"] == 8 * BATCH + 2 * 2 * BATCH
    lines = read_lines(run / "trail.jsonl")
    lines = lines[:8] + lines[STEPS:]  # without what the unbroken run did later
    sizes = [BATCH if line["step"] <= 8 else 2 * BATCH for line in lines]
    keys = [key for n, line in zip(sizes, lines, strict=True) for key in line["keys"][:n]]
    assert len({*keys}) == len(keys) == 12 * BATCH  # each sample once, of three epochs
    assert trainer(larger, run, "--resume", at=[(11, "interrupt")]).status == 75  # as it now is


def test_a_changed_config_is_refused_by_field(trainer, config, unbroken, tmp_path) -> None:
    run = copy(unbroken, tmp_path / "runs/changed", last=8)
    changed = with_train(config, lr=1e-3, seed=7)
    words = "--changed allows it", "train.lr: was 0.004, is 0.001", "train.seed: was 0, is 7"
    refused(trainer(changed, run, "--resume"), *words)
    changed = with_train(config, lr=1e-3)
    outcome = trainer(changed, run, "--resume", "--changed", at=[(10, "before")])
    assert outcome.status == -9, outcome.said
    assert metrics(run)[9]["lr"] == metrics(unbroken)[9]["lr"] / 4
    assert differences(run, unbroken)[0] == (9, "lr")


def test_other_sizes_are_refused_even_when_changes_are_allowed(
    trainer, config, unbroken, tmp_path
) -> None:
    run = copy(unbroken, tmp_path / "runs/wider", last=8)
    wider = replace(config, model=replace(config.model, width=64))
    refused(trainer(wider, run, "--resume"), "model.width: was 32, is 64")
    refused(trainer(wider, run, "--resume", "--changed"), "tensor ")


def test_what_does_not_touch_the_result_may_change(trainer, config, unbroken, tmp_path) -> None:
    run = copy(unbroken, tmp_path / "runs/free", last=8)
    free = with_train(config, log_every=2, save_every=100, threads=2, recompute=True)
    assert trainer(free, run, "--resume").status == 0
    assert [*metrics(run)] == [*range(1, 9), 10, 12]
    assert differences(run, unbroken) == []


@pytest.mark.soak
def test_previews_do_not_touch_the_result(trainer, config, unbroken, tmp_path) -> None:
    run = tmp_path / "runs/seen"
    seen = with_train(config, sample_every=5)
    assert trainer(seen, run, at=[(7, "before")]).status == -9
    assert trainer(seen, run, "--resume").status == 0
    assert len([*(run / "preview").glob("*/*.wav")]) > 4
    assert is_same(run, unbroken)


def test_a_preview_that_cannot_be_written_is_told(trainer, config, unbroken, tmp_path) -> None:
    run = copy(unbroken, tmp_path / "runs/unseen", last=8)
    (run / "preview").write_text("no folder")
    outcome = trainer(with_train(config, sample_every=10), run, "--resume")
    assert outcome.status == 0, outcome.said
    assert "preview/step-000010: not written: " in outcome.said
    assert is_same(run, unbroken)


@pytest.fixture
def own_world(trainer: Trainer, config: Config, tmp_path: Path) -> tuple[Config, Path]:
    """A run after its checkpoint of step 4, on data that a test may change."""
    world = shutil.copytree(config.data.path[0], tmp_path / "world")
    config = replace(config, data=replace(config.data, path=(str(world),)))
    run = tmp_path / "runs/own"
    assert trainer(config, run, at=[(4, "terminate")]).status == 75
    return config, run


def test_a_changed_tokenizer_is_refused(trainer, own_world) -> None:
    config, run = own_world
    other = Tokenizer.train(["a yellow bar", "a red circle"], ["en", "en"], 270)
    (Path(config.data.path[0]) / "tokenizer.json").write_text(other.to_json())
    refused(trainer(config, run, "--resume"), "tokenizer.json beside the shards", "--changed")
    assert trainer(config, run, "--resume", "--changed", at=[(6, "before")]).status == -9
    mine = Tokenizer.load(list_checkpoints(run)[-1] / "tokenizer.json")
    (Path(config.data.path[0]) / "tokenizer.json").write_text(mine.to_json())
    assert trainer(config, run, "--resume", at=[(6, "before")]).status == -9


def test_changed_data_is_refused(trainer, own_world, tmp_path) -> None:
    config, run = own_world
    shutil.rmtree(config.data.path[0])
    write_world(Path(config.data.path[0]), SAMPLES + 2)
    refused(trainer(config, run, "--resume"), config.data.path[0], "has changed since")
    assert trainer(config, run, "--resume", "--changed", at=[(6, "before")]).status == -9
    assert [line["position"] for line in read_lines(run / "trail.jsonl")] == [0, 1, 2, 3, 4]


def spoil(folder: Path) -> None:
    """One bit of the largest file."""
    path = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_passed_over_and_all_damaged_refused(
    trainer, config, unbroken, tmp_path
) -> None:
    run = copy(unbroken, tmp_path / "runs/damaged")
    spoil(list_checkpoints(run)[-1])
    outcome = trainer(config, run, "--resume")
    assert outcome.status == 0
    assert "passed over: step-000012: training-00000.safetensors is" in outcome.said
    assert is_same(run, unbroken)
    for folder in list_checkpoints(run):
        spoil(folder)
    for flags in ((), ("--resume",), ("--resume", "--changed")):
        refused(trainer(config, run, *flags), "no valid checkpoint", "step-000008", "step-000012")


@pytest.mark.parametrize(
    ("trouble", "relief", "reason"),
    [
        ("fill the disk", "make room", "File too large"),
        ("take the folder away", "give it back", "NotADirectoryError"),
    ],
)
def test_a_save_that_fails_is_told_and_training_goes_on(
    trainer, config, unbroken, tmp_path, trouble, relief, reason
) -> None:
    run = tmp_path / "runs/full"
    outcome = trainer(config, run, at=[(7, trouble), (11, relief)])
    assert outcome.status == 0, outcome.said
    assert "not saved: step-000008: " in outcome.said and reason in outcome.said
    failed = [line["failed saves"] for line in read_lines(run / "metrics.jsonl")]
    assert failed[:8] == [0] * 8 and failed[-1] == 1
    assert names(run) == ["step-000004", "step-000012"]
    for folder in list_checkpoints(run):
        manifest.verify(folder)  # the old one is as it was
    assert {name for _, name in differences(run, unbroken)} == {"failed saves"}


def test_a_run_whose_last_checkpoint_cannot_be_written_fails(
    trainer, config, unbroken, tmp_path
) -> None:
    run = copy(unbroken, tmp_path / "runs/last", last=8)
    last = "the last checkpoint is not written: step-0000"
    refused(trainer(config, run, "--resume", at=[(12, "fill the disk")]), last + "12")
    told = trainer(config, run, "--resume", at=[(11, "fill the disk"), (11, "terminate")])
    refused(told, last + "11")
    assert names(run) == ["step-000008"]
    assert trainer(config, run, "--resume").status == 0
    assert is_same(run, unbroken)


def test_state_of_the_loader_is_small(unbroken) -> None:
    state = json.loads((list_checkpoints(unbroken)[-1] / "state.json").read_text())
    assert len(json.dumps(state["loader"])) < 1024
