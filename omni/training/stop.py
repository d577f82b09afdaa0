"""How a run is told to stop: SIGTERM, or Ctrl-C."""

import os
import signal
from contextlib import ExitStack, suppress

HINT = "saves and stops after this step; Ctrl-C again ends it at once, without saving"


class Stop:
    """Whether this process has been told to stop after its step; all processes are, by torchrun.

    A second Ctrl-C has its default effect: the process ends at once. Handlers are as before when
    the stack is closed.

    Args:
        write: whether this process says that it has heard; one does.
    """

    def __init__(self, stack: ExitStack, name: str, write: bool) -> None:
        self.told = False
        self.line = f"\n{name} {HINT}\n" if write else ""
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ValueError):  # only the main thread hears signals
                before = signal.signal(number, self._hear)
                stack.callback(signal.signal, number, before)

    def __bool__(self) -> bool:
        return self.told

    def _hear(self, number: int, frame: object) -> None:
        self.told = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.write(2, self.line.encode())  # print may be in the middle of something
