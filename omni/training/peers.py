"""The processes of a run, when one of them is lost: who it is, and the end of all."""

import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

PARTING = 2.0
"""seconds between an error in one process and the end of the others"""
Place = tuple[str, int]
"""host and process number"""


def place() -> Place:
    """Where this process is."""
    return socket.gethostname(), os.getpid()


class Peers:
    """All processes by number, this one among them; `store` is theirs to exchange words."""

    def __init__(self, number: int, places: Sequence[Place], store: Any) -> None:
        self.number, self.places, self.store = number, places, store

    def part(self) -> str:
        """Ends the other processes of this machine: one that is frozen would never notice.

        They have a moment to say that they are there. Returns which have not: gone or frozen.
        """
        # Where the store is silent: unless the launcher has it, process 0 does.
        here = {*range(1, len(self.places))}
        asking = Thread(target=self._ask, args=(here,), daemon=True)
        asking.start()
        asking.join(PARTING + 1.0)
        silent = [n for n in range(len(self.places)) if n not in here]
        host, _ = self.places[self.number]
        for number, (there, pid) in enumerate(self.places):
            if there == host and number != self.number:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        names = (f"{n} (pid {self.places[n][1]} on {self.places[n][0]})" for n in silent)
        told = f"of {len(self.places)} processes these do not answer: {', '.join(names)}"
        return told if silent else ""

    def _ask(self, here: set[int]) -> None:
        """Leaves in `here` the processes that come to `part` at about the same time."""
        with suppress(RuntimeError):  # whoever has the store is gone
            self.store.set(str(self.number), "")
            time.sleep(PARTING)
            found = [n for n in range(len(self.places)) if self.store.check([str(n)])]
            here.clear()
            here.update(found)
