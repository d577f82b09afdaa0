"""What a run tells while it goes: a progress bar, metrics.jsonl and TensorBoard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter


class Log:
    """A context manager; `record` takes one step's numbers."""

    def __init__(self, run: Path, first: int, steps: int, batch_size: int) -> None:
        self.file = (run / "metrics.jsonl").open("a")
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=first)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        numbers = TextColumn("{task.fields[numbers]}")
        self.progress = Progress(*columns, TimeRemainingColumn(), numbers)
        self.task = self.progress.add_task(run.name, total=steps, completed=first, numbers="")
        self.batch_size = batch_size
        self.started = time.monotonic()
        self.last = first, 0.0, 0.0
        """step, seconds and seconds spent waiting for data at the last record"""

    def __enter__(self) -> "Log":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
        self.file.close()
        self.board.close()

    def advance(self) -> None:
        """One step is done."""
        self.progress.advance(self.task)

    def record(self, step: int, numbers: Mapping[str, Tensor | float], waited: float) -> None:
        """Writes the numbers of a step everywhere, and how fast the steps since the last were.

        `waited`: seconds of the run in which the loop has waited for data.
        """
        seconds = round(time.monotonic() - self.started, 2)
        before, then, idle = self.last
        passed, self.last = seconds - then, (step, seconds, waited)
        told = {k: float(v.detach() if isinstance(v, Tensor) else v) for k, v in numbers.items()}
        told |= {
            "samples/s": (step - before) * self.batch_size / max(passed, 0.01),
            "waiting": (waited - idle) / max(passed, 0.01),
        }
        self.file.write(json.dumps({"step": step, "seconds": seconds} | told) + "\n")
        self.file.flush()
        for name, value in told.items():
            self.board.add_scalar(name, value, step)
        shown = "  ".join(f"{name} {value:.3g}" for name, value in told.items())
        self.progress.update(self.task, numbers=shown)
