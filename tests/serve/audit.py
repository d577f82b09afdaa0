"""What a process opens, connects to and starts, written down as it happens."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {"open", "socket.connect", "subprocess.Popen", "os.system", "os.exec"}


def watch(log: Path, all_threads: bool = True) -> None:
    """From now on and for ever; or only that of threads other than this one."""
    file, me = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), threading.get_ident()

    def hook(event: str, arguments: tuple) -> None:
        if event in EVENTS and (all_threads or threading.get_ident() != me):
            subject = arguments[1] if event == "socket.connect" else arguments[0]
            os.write(file, f"{event} {subject}\n".encode())

    sys.addaudithook(hook)


def watched(log: Path, target: Callable, *arguments: Any) -> Any:
    """What `target` returns, in a process that is watched from then on."""
    made = target(*arguments)
    watch(log)
    return made
