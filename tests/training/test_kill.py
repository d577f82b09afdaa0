"""Training killed anywhere and resumed is, bit by bit, the training that nobody killed."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from omni.config import Config, LossConfig
from omni.training import manifest
from omni.training.manifest import list_checkpoints
from omni.training.pieces import Piece, write_pieces
from tests.training.trainer import SAVE, STEPS, Trainer, differences, is_same, metrics

PLACES = ("start", "before", "backward", "update", "log", "save")
Kill = list[tuple[int, str]]
"""where it is to happen, and where if that never comes"""


def draw(rng: random.Random, newest: int) -> Kill:
    """A step that is still to come, and a place in it."""
    place = rng.choice(PLACES)
    if place == "start":
        return [(newest + 1, f"start {rng.randint(1, 300)}"), (newest + 1, "update")]
    if place == "save":
        return [(newest + SAVE, f"save {rng.randint(1, 80)}")]
    return [(rng.randint(newest + 1, min(newest + SAVE + 1, STEPS)), place)]


def newest_step(run: Path) -> int:
    return max((manifest.step_of(folder) for folder in list_checkpoints(run)), default=0)


def kill_and_finish(
    trainer: Trainer, config: Config, run: Path, rng: random.Random, kills: int
) -> list[Kill]:
    """Trains to the end with so many kills on the way, or fewer; returns them."""
    done: list[Kill] = []
    while len(done) < kills and newest_step(run) < STEPS:
        done.append(draw(rng, newest_step(run)))
        outcome = trainer(config, run, "--resume", at=done[-1])
        assert outcome.status == -9, (done, outcome.said)
    outcome = trainer(config, run, "--resume")
    assert outcome.status == 0, (done, outcome.said)
    return done


def test_six_random_kills_change_nothing(trainer, config, unbroken, tmp_path) -> None:
    rng, left = random.Random(0), 6
    while left:
        run = tmp_path / f"runs/{left}"
        done = kill_and_finish(trainer, config, run, rng, left)
        assert is_same(run, unbroken), done
        left -= len(done)


@pytest.mark.soak
def test_a_hundred_random_kills_change_nothing(trainer, config, tmp_path) -> None:
    rng, same, total, seed = random.Random(1), 0, 0, 0
    places: Counter[str] = Counter()
    while total < 100:
        seed += 1
        seeded = replace(config, train=replace(config.train, seed=seed))
        reference, run = tmp_path / f"runs/whole-{seed}", tmp_path / f"runs/killed-{seed}"
        assert trainer(seeded, reference).status == 0
        done = kill_and_finish(trainer, seeded, run, rng, min(100 - total, 12))
        total += len(done)
        places.update(kill[0][1].split()[0] for kill in done)
        same += len(done) * is_same(run, reference)
    print(f"\n{same} of {total} kills in {seed} runs left the training bitwise as it was: {places}")
    assert same == total


def test_the_run_has_all_senses_and_objectives(unbroken) -> None:
    lines = metrics(unbroken).values()
    objectives = {name.split("/")[0] for line in lines for name in line}
    shares = {"memory", "pairs", "dropping", "word_dropout"}  # have no loss of their own
    assert {field.name for field in fields(LossConfig)} - shares <= objectives
    assert len({line["lr"] for line in lines}) > STEPS / 2
    saved = load_file(list_checkpoints(unbroken)[-1] / "training-00000.safetensors")
    kept = {name for name in saved if name.startswith("past/vectors/")}
    assert kept == {f"past/vectors/{sense}" for sense in ("image", "audio", "text")}


def edit_state(folder: Path, **changes: object) -> None:
    path = folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_position(folder: Path) -> None:
    loader = json.loads((folder / "state.json").read_text())["loader"]
    edit_state(folder, position=0, loader=loader | {"position": 0})


def drop_step(folder: Path) -> None:
    edit_state(folder, step=0)


def drop_tensors(prefix: str) -> Callable[[Path], None]:
    def drop(folder: Path) -> None:
        path = folder / manifest.shard_name(0)
        tensors = load_file(path)
        kept = {name: Piece.whole(x) for name, x in tensors.items() if not name.startswith(prefix)}
        assert len(kept) < len(tensors)
        write_pieces(path, kept)

    return drop


def spoil_average(folder: Path) -> None:
    """The weights in place of their averages."""
    path = folder / manifest.WEIGHTS
    weights = load_file(folder / manifest.shard_name(0))
    averages = {name: weights[f"network/{name}"] for name in load_file(path)}
    write_pieces(path, {name: Piece.whole(x) for name, x in averages.items()})


def seal_again(folder: Path) -> None:
    """A manifest for the files as they are now."""
    old = json.loads((folder / manifest.MANIFEST).read_text())
    files = {name: manifest.seal(folder / name) for name in old["files"]}
    text = manifest.render(old["step"], files, old["world"], old["facts"])
    (folder / manifest.MANIFEST).write_bytes(text)


@pytest.mark.parametrize(
    ("lack", "first"),
    [
        (lambda folder: None, None),  # the comparison finds nothing where there is nothing
        (drop_position, 9),
        (drop_tensors("optimizer/"), 9),
        (drop_step, 1),
        (drop_tensors("past/"), 9),
        (spoil_average, 9),
    ],
    ids=["nothing", "position", "moments", "step", "memory", "average"],
)
def test_what_a_checkpoint_lacks_shows_at_the_first_step(
    trainer, config, unbroken, tmp_path, lack, first
) -> None:
    run = tmp_path / "runs/lacking"
    shutil.copytree(unbroken, run)
    (run / "trail.jsonl").unlink()
    shutil.rmtree(list_checkpoints(run)[-1])
    checkpoint = list_checkpoints(run)[-1]
    assert manifest.step_of(checkpoint) == 8
    lack(checkpoint)
    seal_again(checkpoint)
    last = (first or 9) + 1
    assert trainer(config, run, "--resume", at=[(last, "before")]).status == -9
    found = differences(run, unbroken)
    assert (found[0][0] if found else None) == first, found
