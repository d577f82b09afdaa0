"""A trainer that is killed, stopped or starved at chosen places of chosen steps.

`serve` reads jobs, one JSON a line, and does each in a fork of its process, which has imported
everything once (see `tests.training.trainer`). What is forked must never have gone backward, and
must have no threads: the first fork is made before there are any.
"""

import gc
import hashlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import train
from omni.config import Config
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.presets import debug
from omni.training.meter import measure_peak
from omni.training.pieces import Piece
from omni.training.state import State
from omni.training.store import Store
from tests.training.store_child import Fuse

MEMORY_FROM = 0.25
"""the vectors that the contrast remembers are part of nearly every checkpoint"""
FULL = 1 << 16
"""bytes of the largest file that fits on a full disk: every log, and no checkpoint"""
SAID = "said.txt"


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: type, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


class Places:
    """What is to happen in which step, by name; see `_before` and the wrappers after it.

    `save N` and `start N` are kills before the Nth file-system call of a save and of the process.
    """

    def __init__(self, run: Path, at: list[tuple[int, str]]) -> None:
        self.run, self.at = run, at
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        wrap(train.Training, "_step", self._around_step)
        wrap(State, "update", self._around_update)
        wrap(Store, "_write", self._around_write)
        self.write, os.write = os.write, self._torn
        for _, what in at:
            if what.startswith("start "):
                Fuse(int(what.split()[1])).arm()

    def _around_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(training: train.Training, batches: Any) -> Any:
            state = training.state
            number, position = state.step + 1, state.position
            for at, what in self.at:
                if at == number:
                    self._before(what, training)
            keys = [key for batch in batches for key in batch.key.tolist()]
            verdict = step(training, batches)
            with (self.run / "trail.jsonl").open("a") as file:
                told = {"step": number, "position": position, "keys": keys}
                file.write(json.dumps(told | {"state": digest(state)}) + "\n")
            return verdict

        return watched

    def _before(self, what: str, training: train.Training) -> None:
        checkpoints, aside = self.run / "checkpoints", self.run / "aside"
        if what == "before":
            kill()
        elif what == "backward":
            parameters = list(training.state.network.parameters())
            middle = parameters[len(parameters) // 2]
            # Not while the work of a step is counted, before the first.
            middle.register_hook(lambda _: kill() if training.ideal is not None else None)
        elif what == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        elif what.startswith("interrupt"):
            for _ in what.split():
                os.kill(os.getpid(), signal.SIGINT)
        elif what == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "fill the disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, self.limits[1]))
        elif what == "make room":
            resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        elif what == "take the folder away":
            checkpoints.rename(aside)
            checkpoints.write_text("no folder")
        elif what == "give it back":
            checkpoints.unlink()
            aside.rename(checkpoints)

    def _around_update(self, update: Callable[..., None]) -> Callable[..., None]:
        def watched(state: State, rate: float, norm: float) -> None:
            update(state, rate, norm)
            if (state.step + 1, "update") in self.at:
                kill()

        return watched

    def _around_write(self, write: Callable[..., None]) -> Callable[..., None]:
        """A save that is over before its fuse burns out is killed then."""

        def watched(store: Store, step: int, *rest: Any) -> None:
            calls = [
                int(what.split()[1]) for at, what in self.at if (at, what[:4]) == (step, "save")
            ]
            if calls:
                Fuse(calls[0]).arm()
            write(store, step, *rest)
            if calls:
                kill()

        return watched

    def _torn(self, descriptor: int, data: bytes) -> int:
        """Half of a line of metrics.jsonl, and then no more."""
        for step, what in self.at:
            if what == "log" and data.startswith(b'{"step": %d, "seconds"' % step):
                self.write(descriptor, data[: len(data) // 2])
                kill()
        return self.write(descriptor, data)


def digest(state: State) -> str:
    """Of every bit that training has changed: weights, averages, moments, vectors kept."""
    averages = {f"average/{n}": Piece.whole(x) for n, x in state.average.tensors.items()}
    found = hashlib.sha256()
    for name, piece in sorted((state.pieces() | averages).items()):
        found.update(name.encode())
        found.update(piece.data.contiguous().numpy())
    return found.hexdigest()


def perform(job: dict[str, Any]) -> int:
    """What `python train.py tiny FLAGS` does, in the folder above runs/; its exit status."""
    config, run = Config.from_json(job["config"]), Path(job["run"])
    os.chdir(run.parents[1])
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    train.MEMORY_FROM = MEMORY_FROM
    train.PRESETS = {"tiny": lambda: config, "debug": debug}
    sys.argv = ["train.py", "tiny", *job["flags"]]
    Places(run, [(step, what) for step, what in job["at"]])
    try:
        train.main()
    except SystemExit as end:
        if not isinstance(end.code, str):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 3
    raise AssertionError("main returned")


def launch(job: dict[str, Any]) -> int:
    """The process that does a job."""
    if child := os.fork():
        return child
    status = perform(job)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """The status of a job, below 0 for a signal, and what it said.

    While it is stopped, another like it is tried.
    """
    child, beside = launch(job), None
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        beside = answer(job | {"at": []})
        os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, 0)
    said = (Path(job["run"]).parents[1] / SAID).read_text()
    code = os.waitstatus_to_exitcode(status)
    return {"status": code, "said": said, "beside": beside}


def serve() -> None:
    """Answers jobs until there are no more."""
    torch.set_num_threads(1)
    config = debug()
    with torch.no_grad(), FlopCounterMode(display=False):
        Network(config.model, Tokenizer.train(["a"], ["en"], 300))  # imports what it needs
        torch.ones(1, 1) @ torch.ones(1, 1)
    measure_peak(torch.device("cpu"), torch.float32)
    gc.freeze()  # forks then share what was imported
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
