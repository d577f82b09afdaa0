"""The flight recorder: which steps count, and what is written of those that do not.

Every rank judges the same numbers, reduced over all ranks, and so decides the same without asking
the others; one of them writes.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Any

from omni.journal import Journal

FILE = "incidents.jsonl"
WINDOW, KNOWN = 128, 16
"""accepted gradient norms that are remembered, and how many must be before one is a spike"""
SPIKE = 20.0
"""times their median"""
PATIENCE = 5
"""steps in a row that may be skipped; with the last of them the run goes back"""
ROLLBACKS = 3
"""times that a run goes back before it gives up"""


class Verdict(Enum):
    """What to do with a step whose gradients are there and not yet applied."""

    ACCEPT = "accept"
    SKIP = "skip"
    """weights, moments and averaged weights stay as they are"""
    ROLL_BACK = "roll back"
    """to the last checkpoint before the first of the steps in a row"""


class Recorder:
    """Judges every step by its losses and its gradient norm.

    A spike is measured against the *median* of the last accepted norms, which a few large ones do
    not move, as they would a mean or a deviation. A norm that is not accepted never enters the
    window: one NaN in a rolling window is in every mean until it leaves it, and every step until
    then is skipped.

    Args:
        run: its folder; incidents go to a file in it.
        state: what `state` gave for the checkpoint from which the run goes on; None at its start.
            Incidents that were written after it are dropped: they are going to happen again.
        write: whether this process writes; one does.
    """

    def __init__(self, run: Path, state: Mapping[str, Any] | None = None, write: bool = True):
        state = state or {"norms": [], "skipped": 0, "rollbacks": 0, "incidents": 0}
        self.norms = deque[float](state["norms"], WINDOW)
        self.skipped: int = state["skipped"]
        """steps in a row, up to now: a checkpoint made while it is not 0 is none to go back to"""
        self.rollbacks: int = state["rollbacks"]
        """since the run began: what is drawn anew after one must depend on it"""
        self.incidents: int = state["incidents"]
        self.journal = Journal(run / FILE, "number", self.incidents) if write else None

    def state(self) -> dict[str, Any]:
        """All that later verdicts depend on: finite numbers, exact through JSON."""
        return {
            "norms": list(self.norms),
            "skipped": self.skipped,
            "rollbacks": self.rollbacks,
            "incidents": self.incidents,
        }

    def judge(
        self,
        step: int,
        losses: Mapping[str, float],
        norm: float,
        parts: Mapping[str, float],
        samples: Iterable[str],
    ) -> Verdict:
        """Whether the step counts.

        `norm`: of the whole gradient before it is clipped; `parts`: of each part of the network;
        `samples`: keys of those in the batch, read only if there is something to write.
        """
        usual = median(self.norms) if len(self.norms) >= KNOWN else None
        if what := [name for name, loss in losses.items() if not math.isfinite(loss)]:
            kind = "non-finite loss"
        elif not math.isfinite(norm):
            kind, what = (
                "non-finite gradient",
                [p for p, n in parts.items() if not math.isfinite(n)],
            )
        elif usual and norm > SPIKE * usual:
            kind = "spike"
        else:
            self.norms.append(norm)
            self.skipped = 0
            return Verdict.ACCEPT
        self.skipped += 1
        self._write(step, kind, {"what": what, "norm": norm, "median": usual}, samples)
        return Verdict.SKIP if self.skipped < PATIENCE else Verdict.ROLL_BACK

    def check(self, step: int, folder: Path | None) -> None:
        """Raises `ValueError` unless the run may go back from `step`, to a checkpoint."""
        if folder is None or self.rollbacks >= ROLLBACKS:
            times = f"the run has gone back {ROLLBACKS} times"
            why = times if folder else "there is no checkpoint"
            raise ValueError(
                f"step {step}: {PATIENCE} steps in a row were not sound ({FILE}), "
                f"and {why}: look for what is wrong with the data, or lower train.lr"
            )

    def roll_back(self, step: int, to: int, state: Mapping[str, Any]) -> None:
        """At `step` the run went back to the checkpoint of step `to`, which holds `state`."""
        self.norms = deque(state["norms"], WINDOW)
        self.skipped = 0
        self.rollbacks += 1
        self._write(step, "rolled back", {"to": to}, ())

    def _write(self, step: int, kind: str, facts: dict[str, Any], samples: Iterable[str]) -> None:
        self.incidents += 1
        if self.journal:
            record = {"number": self.incidents, "step": step, "kind": kind} | facts
            self.journal.append(record | {"samples": list(samples)}, sync=True)
