"""What a run tells while it goes: a progress bar, metrics.jsonl, TensorBoard, Weights & Biases."""

import secrets
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from omni.journal import Journal
from omni.training.leak import LeakGuard, resident


class Log:
    """A context manager; `record` takes one step's numbers.

    Args:
        run: its folder.
        first: steps that are done. What the files say of later ones is dropped: it comes again.
        steps: of the whole run.
        batch_size: samples of a step, of all processes together.
        tracker: "wandb", or nothing.
        write: whether this process says anything; one does.

    Raises:
        ValueError: the tracker is unknown or not installed.
    """

    def __init__(
        self,
        run: Path,
        first: int,
        steps: int,
        batch_size: int,
        tracker: str = "",
        write: bool = True,
    ) -> None:
        self.run, self.batch_size = run, batch_size
        self.tracker = _start_tracker(tracker, run) if tracker and write else None
        self.journal = Journal(run / "metrics.jsonl", "step", first) if write else None
        self.board = _open_board(run, first) if write else None
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        numbers = TextColumn("{task.fields[numbers]}")
        self.progress = Progress(*columns, TimeRemainingColumn(), numbers, disable=not write)
        self.plain = write and not self.progress.console.is_terminal
        """whether lines stand in for the bar, of which a file would get the last state alone"""
        self.progress.disable |= self.plain
        self.first, self.steps = first, steps
        self.task = self.progress.add_task(run.name, total=steps, completed=first, numbers="")
        self.guard = LeakGuard()
        self.started = time.monotonic()
        self.last: tuple[int, float, Mapping[str, float]] = first, 0.0, {}
        """step, seconds, and what they were lost to at the last record"""

    def __enter__(self) -> "Log":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
        self._close_board()
        if self.tracker:
            self.tracker.finish(exit_code=int(error[0] is not None))

    def advance(self) -> None:
        """One step is done."""
        self.progress.advance(self.task)

    def rewind(self, step: int) -> None:
        """The run goes on from an earlier step: what was said of later ones is dropped."""
        if self.journal:
            self.journal.rewind(step)
        if self.board:
            self._close_board()
            self.board = _open_board(self.run, step)
        self.progress.update(self.task, completed=step)
        self.first = min(self.first, step)
        self.guard = LeakGuard()
        self.last = step, time.monotonic() - self.started, self.last[2]

    def record(
        self,
        step: int,
        numbers: Mapping[str, Tensor | float],
        lost: Mapping[str, float],
        ideal: float | None = None,
    ) -> None:
        """Writes the numbers of a step everywhere, and how fast the steps since the last were.

        `lost`: seconds of this start in which no step went on, by cause; their share of the time
        is told. `ideal`: seconds that one step would take at the peak of the device.
        """
        if not self.journal:
            return
        seconds = round(time.monotonic() - self.started, 2)
        before, then, earlier = self.last
        passed, self.last = max(seconds - then, 0.01), (step, seconds, dict(lost))
        told = {k: float(v.detach() if isinstance(v, Tensor) else v) for k, v in numbers.items()}
        told["samples/s"] = (step - before) * self.batch_size / passed
        told |= {cause: (now - earlier.get(cause, 0.0)) / passed for cause, now in lost.items()}
        if ideal is not None:
            told["mfu"] = (step - before) * ideal / passed
        self.guard.add(step, resident())
        if (slope := self.guard.slope()) is not None:
            told["rss slope"] = slope
        if warning := self.guard.warning():
            print(f"{self.run}: {warning}", file=sys.stderr)
        self.journal.append({"step": step, "seconds": seconds} | told)
        self._show(step, told)
        shown = "  ".join(f"{name} {value:.3g}" for name, value in told.items())
        self.progress.update(self.task, numbers=shown)
        if self.plain:
            print(self._line(step, told, seconds), flush=True)

    def _line(self, step: int, told: dict[str, float], seconds: float) -> str:
        """A step for people: loss, speed and time left."""
        left = seconds * (self.steps - step) / max(step - self.first, 1)
        loss = f"  loss {told['loss']:.4g}" if "loss" in told else ""
        rate = f"{told['samples/s']:.3g} samples/s"
        return f"step {step}/{self.steps}{loss}  {rate}  {timedelta(seconds=round(left))} left"

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Writes what else is known of a step, such as an evaluation."""
        if self.journal and numbers:
            told = dict(numbers)
            self.journal.append({"step": step} | told)
            self._show(step, told)

    def _show(self, step: int, told: dict[str, float]) -> None:
        try:
            if self.board:
                for name, value in told.items():
                    self.board.add_scalar(name, value, step)
            if self.tracker:
                self.tracker.log({"step": step} | told)
        except OSError as error:  # a full disk must not end the run; TensorBoard's writer it ends
            print(f"{self.run}: from step {step} in metrics.jsonl only: {error}", file=sys.stderr)
            self.board = self.tracker = None

    def _close_board(self) -> None:
        try:
            if self.board:
                self.board.close()
        except OSError as error:
            print(f"{self.run}: TensorBoard has not got all: {error}", file=sys.stderr)


def _open_board(run: Path, first: int) -> SummaryWriter:
    return SummaryWriter(str(run / "tensorboard"), purge_step=first + 1)


def _start_tracker(name: str, run: Path) -> Any:
    """The run of Weights & Biases that belongs to a folder.

    WANDB_PROJECT says where it is listed; WANDB_MODE=offline needs no network.
    """
    if name != "wandb":
        raise ValueError(f"tracker must be 'wandb' or '', got {name!r}")
    try:
        import wandb
    except ImportError as error:
        raise ValueError("tracker 'wandb' needs: pip install -e '.[wandb]'") from error
    identity = run / "wandb-id"
    if not identity.exists():
        identity.write_text(secrets.token_hex(4))
    its_id = identity.read_text()
    tracked = wandb.init(id=its_id, name=run.name, dir=str(run), resume="allow")
    # Its own count of steps must never go back, as it does after a kill: ours is a number.
    tracked.define_metric("*", step_metric="step")
    return tracked
