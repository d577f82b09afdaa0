"""Ctrl-C at a command line: one line and status 130, and no traceback.

Standard library only: it must be ready before the imports that take seconds.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STATUS = 128 + signal.SIGINT
"""as a shell reports a program that Ctrl-C has ended"""


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """End with one line and status 130 at the first Ctrl-C, and at once at the second.

    What is done in the meantime says by `advise` what has become of its work. Where nobody reads
    the output any more (`| head`), the program ends without a word.
    """
    before = None
    with suppress(ValueError):  # only the main thread may set handlers
        before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        notes = getattr(interrupt, "__notes__", [])
        print(": ".join([f"{name}: interrupted", *notes]), file=sys.stderr, flush=True)
        sys.exit(STATUS)
    except BrokenPipeError:
        # Python would write what is left once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


@contextmanager
def advise(advice: str) -> Iterator[None]:
    """Say at Ctrl-C what has become of the work within, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(advice)
        raise


def end_at_once(name: str) -> None:
    """Let Ctrl-C end the process from now on, with its line, whatever its threads wait for."""

    def end(number: int, frame: FrameType | None) -> None:
        print(f"{name}: interrupted", file=sys.stderr, flush=True)
        os._exit(STATUS)

    signal.signal(signal.SIGINT, end)


@contextmanager
def unheard() -> Iterator[None]:
    """Start processes that never hear Ctrl-C, not even while they import: their parent does.

    A terminal sends it to all of them. They inherit the mask of the thread that starts them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Leave the second Ctrl-C to the system, which waits for nothing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt
