"""The processes of a run, when one of them is lost: who it is, and the end of all."""

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

PARTING = 2.0
"""seconds that all have after an error in one of them"""
LONGER = 1.0
"""seconds more for process 0, which may have the store that others still ask"""
Place = tuple[str, int]
"""host and process number"""


def place() -> Place:
    """Where this process is."""
    return socket.gethostname(), os.getpid()


class Peers:
    """All processes by number, this one among them; `store` is theirs to exchange words."""

    def __init__(self, number: int, places: Sequence[Place], store: Any) -> None:
        self.number, self.places, self.store = number, places, store

    def part(self) -> NoReturn:
        """Ends this process, after an error, and those of this machine that do not notice.

        All have a moment to say that they are here. Who has not is gone or frozen, or waits for one
        that is: the lost are named. Nothing else is waited for, such as a save in which they have a
        part.
        """
        here: set[int] = set()
        asking = Thread(target=self._ask, args=(here,), daemon=True)  # the store may be frozen
        asking.start()
        asking.join(PARTING + LONGER)
        silent = {*range(len(self.places))} - here - {self.number}
        if lost := [n for n in sorted(silent) if not self._runs(n)] or sorted(silent):
            names = (f"{n} (pid {self.places[n][1]} on {self.places[n][0]})" for n in lost)
            told = f"of {len(self.places)} processes these do not answer: {', '.join(names)}"
            print(told, file=sys.stderr)
        for pid in filter(None, map(self._pid, silent)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0 if self.number else LONGER)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    def _ask(self, here: set[int]) -> None:
        """Adds to `here` the processes that come to `part` at about the same time."""
        with suppress(RuntimeError):  # whoever has the store is gone
            self.store.set(str(self.number), "")
            time.sleep(PARTING)
            here.update(n for n in range(len(self.places)) if self.store.check([str(n)]))

    def _pid(self, number: int) -> int | None:
        """Of a process on this machine."""
        host, pid = self.places[number]
        return pid if host == self.places[self.number][0] else None

    def _runs(self, number: int) -> bool:
        """Whether a process is known to be neither gone nor stopped."""
        try:
            status = Path(f"/proc/{self._pid(number)}/stat").read_text()
        except OSError:  # on another machine, or gone
            return False
        return status.rpartition(")")[2].split()[0] in "RSD"
