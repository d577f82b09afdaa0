"""How far a long command is: a bar in a terminal, and else a plain line every few seconds."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

PERIOD = 10.0
"""seconds between two plain lines; what is done sooner prints none"""
T = TypeVar("T")


class Progress:
    """Shows on standard error how much is done; a context manager.

    The plain lines come from a thread, so that they go on while one step takes minutes.

    Args:
        what: is being done.
        total: steps of it, where they are known.
        quiet: show nothing: the results themselves are seen in the terminal.
        clear: take the bar away in the end.
    """

    def __init__(
        self, what: str, total: int | None = None, quiet: bool = False, clear: bool = False
    ) -> None:
        self.what, self.total, self.done = what, total, 0
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._bar: Bar | None = None
        if sys.stderr.isatty() and not quiet:
            columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
            count = TextColumn("{task.fields[count]}")
            self._bar = Bar(
                *columns, count, TimeElapsedColumn(), console=Console(stderr=True),
                transient=clear, redirect_stdout=False,
            )  # fmt: skip
            self._bar.add_task(what, total=total, count="")
        elif not quiet:
            self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
        if self._thread is not None:
            self._thread.join()
            if time.monotonic() - self._began >= PERIOD:
                self._print()

    def update(
        self, done: int | None = None, what: str | None = None, total: int | None = None
    ) -> None:
        """Take over what has changed."""
        self.done = self.done if done is None else done
        self.what = self.what if what is None else what
        self.total = self.total if total is None else total
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=self.done, total=self.total,
                description=self.what, count=self._count(),
            )  # fmt: skip

    def _repeat(self) -> None:
        while not self._ended.wait(PERIOD):
            self._print()

    def _print(self) -> None:
        elapsed = timedelta(seconds=int(time.monotonic() - self._began))
        what = f"{self.what}: {self._count()}" if self._count() else self.what
        print(f"{what}, {elapsed}", file=sys.stderr, flush=True)

    def _count(self) -> str:
        if self.total is not None:
            return f"{self.done:,} of {self.total:,}"
        return f"{self.done:,}" if self.done else ""


def track(
    items: Iterable[T], what: str, total: int | None = None, clear: bool = False
) -> Iterator[T]:
    """The same items, while it is shown how many of them are done."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total, clear=clear) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress.update(done)
