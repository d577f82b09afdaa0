"""Requests that wait for a model, taken together as long as they ask for the same."""

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from omni.serve.process import LostError, Process

WAIT = 0.005
"""seconds that the first request waits for others"""
CHECK = 1.0
"""seconds after which a process that nobody asks is looked at"""


class FullError(RuntimeError):
    """There are as many items waiting as may wait."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    kind: Hashable
    items: list
    answers: asyncio.Future


class Queue:
    """The way to a process.

    Args:
        process: takes (verb, options, items) and answers each of the items.
        batch: items that it takes together.
        size: items that wait, or are with the process.
    """

    def __init__(self, process: Process, batch: int, size: int) -> None:
        self.process, self.batch, self.size = process, batch, size
        self.count = 0
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()

    async def ask(self, verb: str, options: tuple, items: list, together: bool = True) -> list:
        """An answer an item; with those of other requests, unless they are not to be `together`.

        Raises `FullError`, and `LostError` when the process dies over them.
        """
        if self.count + len(items) > self.size:
            raise FullError(f"{self.count} of {self.size} items are waiting: try again")
        kind = (verb, options, None if together else object())
        one = _Waiting(kind, items, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._arrived.set()
        self.count += len(items)
        try:
            return await one.answers
        finally:
            self.count -= len(items)

    async def run(self) -> None:
        """Brings batches to the process, for ever."""
        while True:
            batch = await self._next()
            if not batch:
                continue
            verb, options, _ = batch[0].kind  # type: ignore[misc]
            items = [item for one in batch for item in one.items]
            try:
                answers = iter(await self.process.ask((verb, options, items)))
            except LostError as error:
                for one in _open(batch):
                    one.answers.set_exception(error)
                continue
            for one in batch:
                mine: list[Any] = [next(answers) for _ in one.items]
                if not one.answers.done():
                    one.answers.set_result(mine)

    async def _next(self) -> list[_Waiting]:
        """The oldest request and all that ask for the same, as many as go together."""
        while not self._waiting:
            self._arrived.clear()
            try:
                async with asyncio.timeout(CHECK):
                    await self._arrived.wait()
            except TimeoutError:
                await self._revive()
        if len(self._waiting) < self.batch:
            await asyncio.sleep(WAIT)
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        count = 0
        for one in _open(self._waiting):
            fits = not batch or count + len(one.items) <= self.batch
            if fits and (not batch or one.kind == batch[0].kind):
                batch.append(one)
                count += len(one.items)
            else:
                left.append(one)
        self._waiting = left
        return batch

    async def _revive(self) -> None:
        """Starts a process anew that died while nobody asked it."""
        try:
            await self.process.start()
        except (LostError, ValueError):
            return  # it is not ready, as /readyz says; the next look tries again


def _open(waiting: "deque[_Waiting] | list[_Waiting]") -> list[_Waiting]:
    """Those whose client still waits."""
    return [one for one in waiting if not one.answers.done()]
