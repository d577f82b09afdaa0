"""A service in processes of its own, to be measured, harmed and ended."""

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from types import TracebackType

try:
    import psutil
except ImportError as error:
    raise ValueError("to measure a service needs: pip install psutil") from error

STARTING_SECONDS = 300.0
SAMPLE_SECONDS = 0.02
"""between two looks at the memory"""


class Service:
    """`omni serve` of a run, from its first answer on. Raises `ValueError` where there is none."""

    def __init__(self, run: str, batch: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        arguments = ["--model", f"model={run}", "--port", str(self.port), "--batch", str(batch)]
        self._main = subprocess.Popen([sys.executable, "-m", "omni", "serve", *arguments])
        self.main = psutil.Process(self._main.pid)

    def __enter__(self) -> "Service":
        end = time.monotonic() + STARTING_SECONDS
        while self._main.poll() is None and time.monotonic() < end:
            with suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz").close()
                return self
            time.sleep(0.05)
        self.__exit__(None, None, None)
        raise ValueError("the service did not start")

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it at once, if it has not ended; its other processes end with it."""
        self._main.kill()
        self._main.wait()

    @property
    def processes(self) -> list[psutil.Process]:
        """All that live."""
        with suppress(psutil.NoSuchProcess):
            return [self.main, *self.main.children(recursive=True)]
        return []

    @property
    def model(self) -> psutil.Process:
        """The process that answers."""
        return next(process for process in self.processes if process.name() == "omni-model")

    def wait(self, seconds: float) -> int:
        """How it has ended. Raises `subprocess.TimeoutExpired`."""
        return self._main.wait(seconds)


class Watch:
    """How much memory a service takes in a `with` block: `growth`, bytes of all its processes."""

    def __init__(self, service: Service) -> None:
        self.service, self.growth = service, 0
        self._done = threading.Event()

    def __enter__(self) -> "Watch":
        before = sum(map(_memory, self.service.processes))

        def look() -> None:
            while not self._done.wait(SAMPLE_SECONDS):
                now = sum(map(_memory, self.service.processes))
                self.growth = max(self.growth, now - before)

        self._thread = threading.Thread(target=look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _memory(process: psutil.Process) -> int:
    """Resident bytes; of one that has just ended, none."""
    with suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0
