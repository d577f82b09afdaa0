"""A child process that answers, one request after the other, and is started again when it dies."""

import asyncio
import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from omni.interrupt import unheard

CONTEXT = multiprocessing.get_context("forkserver")
"""Imports torch once, in a process without threads; of that all others are forked in no time."""
LOADING_SECONDS = 300.0


class LostError(RuntimeError):
    """The process died over a request, or took too long."""


class Process:
    """A process that is asked.

    Args:
        seconds: that an answer may take.
        target: called in the process; returns what there is to know about it, and the function
            that answers requests. What it refuses is a `ValueError`.
        arguments: of the target.
    """

    def __init__(self, seconds: float, target: Callable, *arguments: Any) -> None:
        self.seconds, self.target, self.arguments = seconds, target, arguments
        self.about: Any = None
        self.ready = False
        self._thread = ThreadPoolExecutor(1)  # all that is done to the process is done here
        self._process: Any = None
        self._pipe: Connection

    async def start(self) -> None:
        """Starts it unless it lives. Raises `ValueError` where the target does."""
        await self._run(self._start)

    async def ask(self, request: Any) -> Any:
        """Its answer. Raises `LostError` when it dies over it; then another is started."""
        return await self._run(self._ask, request)

    async def stop(self) -> None:
        """Ends it."""
        await self._run(self._end)
        self._thread.shutdown()

    async def _run(self, function: Callable, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _start(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self._end()
        CONTEXT.set_forkserver_preload(["omni.serve.preload"])
        self._pipe, there = CONTEXT.Pipe()
        arguments = (there, self.target, self.arguments)
        self._process = CONTEXT.Process(target=_answer, args=arguments, daemon=True)
        with unheard():
            self._process.start()
        there.close()
        try:
            loaded, self.about = self._receive(LOADING_SECONDS)
        except (EOFError, OSError) as error:
            self._end()
            raise LostError("a process died as it started") from error
        if not loaded:
            self._end()
            raise ValueError(self.about)
        self.ready = True

    def _ask(self, request: Any) -> Any:
        try:
            self._start()
            self._pipe.send(request)
            return self._receive(self.seconds)
        except (EOFError, OSError, ValueError) as error:
            self._end()
            self._thread.submit(self._start)
            raise LostError("the process that works on this died, or took too long") from error

    def _receive(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise TimeoutError
        return self._pipe.recv()

    def _end(self) -> None:
        self.ready = False
        if self._process is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._process = None


def _answer(pipe: Connection, target: Callable, arguments: tuple) -> None:
    """What runs in the process; it ends with the pipe. Signals are for the one that asks."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        about, answer = target(*arguments)
    except ValueError as error:
        pipe.send((False, str(error)))
        sys.exit(1)
    pipe.send((True, about))
    while True:
        try:
            pipe.send(answer(pipe.recv()))
        except (EOFError, BrokenPipeError):
            return
