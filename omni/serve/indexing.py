"""The index of a service, which may have to be made first."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from omni.search.catalogue import Catalogue
from omni.search.index import CATALOGUE
from omni.serve.settings import Settings

READY = "ready"
COUNT = re.compile(r"([\d,]+) of ([\d,]+)")
"""how the lines of `omni.progress` tell what is done"""
PATIENCE = 10.0
"""seconds that a process which is told to end has to clear up"""


class Indexing:
    """The index of a service.

    Where there is none yet a process of its own makes it, so that the models answer meanwhile.

    Args:
        fail: called with the reason where no index could be made.

    Attributes:
        state: "ready", or how far it is, such as "indexing, 40 %".
        catalogue: of the index, as soon as that is ready.
    """

    def __init__(self, settings: Settings, fail: Callable[[str], None]) -> None:
        self.settings, self.fail = settings, fail
        self.state = "indexing"
        self.catalogue: Catalogue | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the index, or begin to make it."""
        if self.settings.source is None:
            self._open()
        else:
            self._task = asyncio.create_task(self._make())

    async def stop(self) -> None:
        """Let go of the index; one that is being made is given up."""
        interrupted = False
        if self._task is not None:
            self._task.cancel()
            while not self._task.done():
                try:
                    await asyncio.wait([self._task])
                except asyncio.CancelledError:  # Ctrl-C cancels the one who waits here
                    interrupted = True
        if self.catalogue is not None:
            self.catalogue.close()
        if interrupted:
            raise asyncio.CancelledError

    def _open(self) -> None:
        assert self.settings.index is not None
        self.catalogue = Catalogue(self.settings.index / CATALOGUE)
        self.state = READY

    async def _make(self) -> None:
        # In a session of its own, so that Ctrl-C reaches it through `stop` alone.
        process = await asyncio.create_subprocess_exec(
            *command(self.settings), stderr=asyncio.subprocess.PIPE, start_new_session=True
        )
        line = ""
        try:
            assert process.stderr is not None
            async for data in process.stderr:
                line = data.decode(errors="replace").rstrip()
                print(line, file=sys.stderr, flush=True)
                self.state = describe(line) or self.state
            await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                process.kill()
                await process.wait()
            raise
        if process.returncode == 0 or is_made(self.settings):
            self._open()
        else:
            self.fail(f"no index could be made of {self.settings.source}: {line}")


def describe(line: str) -> str:
    """Return how far a process is by a line of its progress; nothing for another line."""
    match = COUNT.search(line)
    if match is None:
        return ""
    done, total = (int(number.replace(",", "")) for number in match.groups())
    return f"indexing, {100 * done // max(1, total)} %"


def command(settings: Settings) -> list[str]:
    """Return the command that makes the index of a service, for its first model."""
    words = [sys.executable, "-m", "omni", "index", "build", str(settings.index)]
    run = next(iter(settings.models.values()))
    return [*words, str(settings.source), "--model", run, "--device", settings.device]


def is_made(settings: Settings) -> bool:
    """Whether the index is there: files that cannot be read cost a status, not the index."""
    return settings.index is not None and (settings.index / CATALOGUE).is_file()


def make(settings: Settings) -> None:
    """Make the index of a service, where one is asked for, and wait for it.

    Raises `ValueError` where none could be made.
    """
    if settings.source is None:
        return
    subprocess.run(command(settings), check=False)
    if not is_made(settings):
        raise ValueError(f"no index could be made of {settings.source}")
