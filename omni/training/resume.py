"""Whether a run may begin, or go on from its newest checkpoint; and what is said of it."""

import json
from pathlib import Path
from typing import Any

from omni.training.schedule import learning_rate
from omni.training.state import changes


def is_finished(run: Path, folder: Path, steps: int, resume: bool) -> bool:
    """Whether there is nothing to do. Raises `ValueError` where it must be said to go on."""
    done = json.loads((folder / "state.json").read_text())["step"]
    if done >= steps:
        print(
            f"{run} is finished, at step {done}: {folder}; it goes on with --resume and more "
            f"--train.steps than {done}"
        )
        return True
    if not resume:
        planned = read_config(folder)["train"]["steps"]
        kind = "a finished" if done >= planned else "an unfinished"
        raise ValueError(
            f"{run} holds {kind} run, at step {done}: add --resume to go on to step {steps}, or "
            f"delete it"
        )
    return False


def check_changes(folder: Path, config: dict[str, Any], others: list[str], changed: bool) -> None:
    """Raises `ValueError` where a run is not as it was, and no changes are allowed.

    A finished run may go on for more steps.
    """
    old = read_config(folder)
    found, done = changes(old, config), json.loads((folder / "state.json").read_text())["step"]
    train, planned = config["train"], old["train"]["steps"]
    if done >= planned and train["steps"] > planned:
        found = [change for change in found if not change.startswith("train.steps:")]
    if (found or others) and not changed:
        listed = "; ".join(found + others)
        raise ValueError(f"{folder} is of another run; --changed allows it: {listed}")
    if train["steps"] != planned:
        rate = learning_rate(done, train["lr"], train["warmup"], train["steps"])
        print(
            f"goes on from step {done} of {train['steps']}, not {planned}: the learning rate is "
            f"now {rate:.3g}, where a run of {train['steps']} steps has it, and falls to zero again"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """That of a checkpoint, as JSON."""
    return json.loads((folder / "config.json").read_text())
