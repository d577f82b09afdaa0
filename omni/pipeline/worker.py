"""Processes that make batches, in memory that they share with the training process.

Nothing large travels: pixels and samples are written where the training process reads them, and a
slot is used again when its batch is done with.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import torch
import torch.multiprocessing as mp
from torch import Tensor

from omni.batch import Batch, Part
from omni.pipeline.assemble import Assembler, Made
from omni.pipeline.collate import Buffers
from omni.pipeline.plan import Pick

SLOTS = 3
"""batches of a worker: in the making, made, and in use"""
STARTUP = 120.0
"""seconds that a process may take before its first sign of life"""
PATIENCE = 8.0
"""seconds without a sign of life after which a worker counts as frozen"""
MEDIA = ("image", "audio")


class WorkerError(RuntimeError):
    """A worker that died, froze or failed: which, where and why."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to make batches; `slots` [SLOTS M] and `pulse` [4] are shared.

    `pulse`: time of the last sign of life, step, source and number of the sample at hand.
    """

    assembler: dict[str, Any]
    slots: Tensor
    pulse: Tensor


def work(job: Job, pipe: Connection) -> None:
    """The life of a worker: makes the steps that it is told to, until the pipe closes."""
    torch.set_num_threads(1)
    pulse = job.pulse.numpy()

    def beat(step: int, pick: Pick) -> None:
        pulse[:] = time.monotonic(), step, pick.source, pick.number

    @contextmanager
    def fetching() -> Iterator[None]:
        pulse[0] = float("inf")  # a transfer has time limits of its own
        yield
        pulse[0] = time.monotonic()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # of all processes; the training process ends this
    try:
        assembler = Assembler(**job.assembler, beat=beat, fetching=fetching)
        buffers = [Buffers.over(slot, assembler.size, assembler.model) for slot in job.slots]
        beat(-1, Pick(0, 0, 0, 0))
        while (task := pipe.recv()) is not None:
            turn, slot = task
            pipe.send(_pack(assembler.make(turn, buffers[slot])))
            pulse[0] = time.monotonic()
    except EOFError:
        pass  # the training process is gone
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def _pack(made: Made) -> tuple[Any, ...]:
    """All of a batch that is small, as arrays; of the media only their shapes."""
    batch, parts = made.batch, {}
    for sense, part in batch.parts.items():
        data = tuple(part.data.shape) if sense in MEDIA else part.data.numpy()
        parts[sense] = data, part.rows.numpy(), part.lengths.numpy()
    whole = batch.group.numpy(), None if batch.key is None else batch.key.numpy()
    return batch.size, whole, parts, made.substituted, made.damaged, made.faults


def _unpack(packed: tuple[Any, ...], buffers: Buffers) -> Made:
    size, whole, packed_parts, *rest = packed
    parts = {}
    for sense, (data, rows, lengths) in packed_parts.items():
        if sense == "image":
            data = buffers.pixels[: data[0]].permute(0, 3, 1, 2)
        elif sense == "audio":
            data = buffers.samples[: data[0] * data[1]].view(data)
        else:
            data = torch.from_numpy(data)
        parts[sense] = Part(data, torch.from_numpy(rows), torch.from_numpy(lengths))
    group, key = (None if x is None else torch.from_numpy(x) for x in whole)
    assert group is not None
    return Made(Batch(size, group, parts, key), *rest)


class Workers:
    """Several workers, each of which makes every so-manieth turn.

    A batch that is handed out may be used until the next one is asked for.
    """

    def __init__(self, count: int, assembler: dict[str, Any], patience: float = PATIENCE) -> None:
        self.patience, self.assembler = patience, assembler
        config, model = assembler["config"], assembler["model"]
        samples = config.batch_size // assembler["share"].cuts
        size = sum(Buffers.num_bytes(samples, model))
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["omni.pipeline.worker"])
        self.pipes, self.processes, self.pulses, self.buffers = [], [], [], []
        for number in range(count):
            slots = torch.empty(SLOTS, size, dtype=torch.uint8).share_memory_()
            pulse = torch.zeros(4, dtype=torch.float64).share_memory_()
            ours, theirs = context.Pipe()
            name = f"loader worker {number}"
            arguments = Job(assembler, slots, pulse), theirs
            process = context.Process(target=work, args=arguments, name=name, daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
            self.pulses.append(pulse)
            self.buffers.append([Buffers.over(slot, samples, model) for slot in slots])

    def batches(self, start: int, stop: int) -> Iterator[Made]:
        """The batches of turns `start` to `stop - 1`, in order."""
        count = len(self.processes)
        for turn in range(start, min(start + count * (SLOTS - 1), stop)):
            self._ask(turn, start)
        for turn in range(start, stop):
            worker, slot = self._place(turn, start)
            packed = self._receive(worker)
            # Asked for now, while the batch before this one is done with.
            if turn + count * (SLOTS - 1) < stop:
                self._ask(turn + count * (SLOTS - 1), start)
            yield _unpack(packed, self.buffers[worker][slot])

    def _place(self, turn: int, start: int) -> tuple[int, int]:
        """The worker and the slot of a turn."""
        turn, worker = divmod(turn - start, len(self.processes))
        return worker, turn % SLOTS

    def _ask(self, turn: int, start: int) -> None:
        worker, slot = self._place(turn, start)
        try:
            self.pipes[worker].send((turn, slot))
        except OSError:
            self._fail(worker, "is gone")

    def _receive(self, worker: int) -> tuple[Any, ...]:
        """What a worker made. Raises `WorkerError` when it is dead, frozen or has failed."""
        pipe, process, began = self.pipes[worker], self.processes[worker], time.monotonic()
        while pipe not in wait([pipe, process.sentinel], timeout=0.5):
            if not process.is_alive():
                self._fail(worker, "died")
            beat = float(self.pulses[worker][0])
            silent = time.monotonic() - max(began, beat)
            if silent > (self.patience if beat else STARTUP):
                self._fail(worker, f"has given no sign of life for {silent:.0f} s")
        try:
            packed = pipe.recv()
        except (EOFError, OSError):
            self._fail(worker, "died")
        if isinstance(packed, str):
            self._fail(worker, f"failed: {packed}")
        return packed

    def _fail(self, worker: int, what: str) -> NoReturn:
        process, pulse = self.processes[worker], self.pulses[worker].tolist()
        process.join(timeout=1)
        code, why = process.exitcode, ""
        if code is not None and code < 0:
            why = f" by signal {-code}" + " (out of memory?)" * (code == -9)
        elif code:
            why = f" with exit status {code}"
        _, step, source, number = (int(value) for value in pulse)
        shard, row = self.assembler["plan"].datasets[source].locate(number)
        place = f"step {step}, shard {shard.name!r}, sample in row {row}"
        raise WorkerError(
            f"{process.name} (process {process.pid}) {what}{why}; "
            f"{place if step >= 0 else 'it had not begun'}"
        )

    def close(self) -> None:
        """Ends every worker."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            process.kill()
            process.join()
            pipe.close()
