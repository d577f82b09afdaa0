"""What was found damaged, and the books: at the end of an epoch every sample is accounted for."""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from omni.journal import append_line
from omni.pipeline.plan import Pick, Plan

FEW = 1000
"""samples, or all that there are, from which on the share of damaged ones is taken as it is"""
CHANCE = 4
"""standard deviations that fewer samples may be above the share that is allowed"""
FILE = "quarantine.jsonl"


@dataclass(frozen=True)
class Fault:
    """A damaged member of a sample: where, why, and the step that met it first."""

    dataset: str
    number: int
    shard: str
    key: str
    member: str
    reason: str
    step: int


class Quarantine:
    """What is damaged in a run, each once, as lines of a file that a resumed run reads first.

    Args:
        folder: of the run; None keeps no file.
        limit: share of the samples of all batches that may be damaged, known before or not.
        total: number of samples that there are.

    Raises:
        ValueError: the file is damaged.
    """

    def __init__(self, folder: Path | None, limit: float, total: int) -> None:
        self.path, self.limit, self.total = folder and folder / FILE, limit, total
        self.faults: dict[tuple[str, int, str], Fault] = {}
        self.seen = self.damaged = 0
        if self.path and self.path.exists():
            whole, _, torn = self.path.read_bytes().rpartition(b"\n")
            if torn:  # by a kill; it is found again
                os.truncate(self.path, self.path.stat().st_size - len(torn))
            for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
                try:
                    fault = Fault(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{self.path}, line {number}: {error}") from error
                self.faults[fault.dataset, fault.number, fault.member] = fault

    def add(self, faults: Iterable[Fault], damaged: int, seen: int) -> None:
        """Writes down what is new, and judges anew. Raises `ValueError` as `judge` does.

        `damaged`: the samples among those `seen`, of one batch, that are damaged.
        """
        self.seen += seen
        self.damaged += damaged
        for fault in faults:
            place = fault.dataset, fault.number, fault.member
            if place not in self.faults:
                self.faults[place] = fault
                if self.path:
                    append_line(self.path, asdict(fault))
        self.judge()

    def judge(self) -> None:
        """Raises `ValueError` when too many of the samples seen were damaged.

        Of few samples more may be, as chance would have it: many are not waited for where half
        of the first are damaged.
        """
        allowed = self.limit * self.seen
        if self.seen < min(FEW, self.total):
            allowed += CHANCE * math.sqrt(allowed)
        if self.damaged > allowed:
            last = [*self.faults.values()][-1]
            raise ValueError(
                f"{self.damaged} damaged samples among {self.seen} are more than the share of "
                f"{self.limit} that data.max_bad allows; the last: shard {last.shard!r}, sample "
                f"{last.key!r}, member .{last.member}: {last.reason}"
            )


class Ledger:
    """Counts what comes out of every epoch, and proves that nothing was lost or came twice."""

    def __init__(self, plan: Plan, step: int) -> None:
        self.plan = plan
        self.emitted: Counter[tuple[int, int]] = Counter()
        self.substituted: Counter[tuple[int, int]] = Counter()
        self._count_before(plan.window_start(step))
        for earlier in range(plan.window_start(step), step):
            self.emitted.update((p.source, p.epoch) for p in plan.batch(earlier))

    def _count_before(self, step: int) -> None:
        """All that came before the window that begins with a step."""
        position, outstanding = self.plan.outstanding(step)
        for source, order in enumerate(self.plan.blend.orders):
            now, count = divmod(self.plan.blend.used(source, position), len(order))
            self.emitted[source, now] = count
            for epoch in {p.epoch for p in outstanding if p.source == source and p.epoch < now}:
                self.emitted[source, epoch] = len(order)
        self.emitted.subtract((p.source, p.epoch) for p in outstanding)

    def add(self, step: int, picks: list[Pick], substituted: list[int], last: bool = True) -> None:
        """A batch of which the places `substituted` hold others; `last` of those of its step."""
        instead = {*substituted}
        for place, pick in enumerate(picks):
            book = self.substituted if place in instead else self.emitted
            book[pick.source, pick.epoch] += 1
        if last and self.plan.opens_window(step + 1):
            self._close(step + 1)

    def _close(self, step: int) -> None:
        """Settles the epochs that ended before the window that begins with a step."""
        position, outstanding = self.plan.outstanding(step)
        for source, order in enumerate(self.plan.blend.orders):
            now = self.plan.blend.used(source, position) // len(order)
            now = min([now, *(p.epoch for p in outstanding if p.source == source)])
            for book in sorted({k for k in self.emitted if k[0] == source and k[1] < now}):
                emitted, other = self.emitted.pop(book), self.substituted.pop(book, 0)
                count, filtered, tail = len(order.dataset), order.filtered, 0
                told = (
                    f"{order.dataset.name}, epoch {book[1]}: {emitted} emitted + {other} "
                    f"substituted + {filtered} filtered + {tail} left over, of {count}"
                )
                assert emitted + other + filtered + tail == count, told
