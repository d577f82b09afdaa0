"""A model as the routes see it: verbs that wait for an answer."""

import asyncio
from typing import Any

from fastapi import HTTPException, Request

from omni.serve.model import Refused, open_model
from omni.serve.process import Process
from omni.serve.queue import Queue
from omni.serve.settings import Settings

TOGETHER = ("embed", "write", "segments", "search")
"""verbs whose answers do not depend on what else is in a batch; others draw from a seed"""


class Engine:
    """A model, its process and the queue before it."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.has_index = settings.index is not None and name == next(iter(settings.models))
        index = settings.index if self.has_index else None
        arguments = settings.models[name], settings.device, index, settings.root
        self.process = Process(settings.seconds, open_model, *arguments)
        self.queue = Queue(self.process, settings.batch, settings.waiting)
        self._task: asyncio.Task | None = None

    async def start(self) -> None:
        """Loads the model. Raises `ValueError` where it cannot be."""
        await self.process.start()
        self._task = asyncio.create_task(self.queue.run())

    async def stop(self) -> None:
        """Lets go of it."""
        if self._task is not None:
            self._task.cancel()
        await self.process.stop()

    async def do(self, verb: str, items: list, **options: Any) -> list:
        """An answer an item. Raises `HTTPException` where the model refuses one."""
        together = verb in TOGETHER
        answers = await self.queue.ask(verb, tuple(options.items()), items, together)
        for answer in answers:
            if isinstance(answer, Refused):
                raise HTTPException(500 if answer.fault else 422, answer.reason)
        return answers


def engine_of(request: Request, name: str | None) -> Engine:
    """The model of a name, the first where there is none. Raises `HTTPException` 404."""
    engines: dict[str, Engine] = request.app.state.engines
    if name is None:
        return next(iter(engines.values()))
    if name not in engines:
        raise HTTPException(404, f"there is no such model; there are {', '.join(engines)}")
    return engines[name]
