"""Runs of the tiny model on any number of processes, with faults where a test wants them.

`python -m tests.training.layouts_child JOBS.json` runs one job after the other, each in forks of
this process, which has imported everything once, and prints one JSON of what came of them. Under
torchrun it is a process of the first job.
"""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import train
from omni.config import Config, LossConfig
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.presets import debug
from omni.training.manifest import folder_name
from omni.training.parallel import Parallel
from omni.training.pieces import Reader
from omni.training.slices import local
from omni.training.step import Step

ROOT = Path(__file__).resolve().parents[2]
STEPS = 10
BATCH = 16
PLAIN = "test_convnext"
"""an image encoder without batch norm: what a micro-batch is does not matter to it"""
NORMED = "test_resnet"


@dataclass(frozen=True)
class Job:
    """One start of a run: all of it is read from JSON."""

    name: str
    processes: int = 1
    encoder: str = PLAIN
    settings: dict[str, Any] = field(default_factory=dict)
    """fields of `TrainConfig` that are not as usual"""
    workers: int = 0
    counts: bool = False
    """whether floating-point operations are counted: that costs as much as three steps"""
    timeout: float = 120.0
    copy_of: str = ""
    """the run that is copied first, and gone on with: from the checkpoint of `step`"""
    resume: bool = False
    action: str = ""
    """what goes wrong: one of `ACTIONS`, or the name of a signal"""
    step: int = 0
    """before which the signal is sent, once; or at which the copy begins"""
    rank: int = 0
    """to which it is sent"""

    def config(self) -> Config:
        config = debug()
        model = replace(config.model, image=replace(config.model.image, encoder=self.encoder))
        data = replace(config.data, batch_size=BATCH, extra_texts=8, workers=self.workers)
        usual: dict[str, Any] = {"steps": STEPS, "lr": 1e-3, "warmup": 2, "threads": 1}
        usual |= {"log_every": 1, "save_every": 7}
        given = {  # JSON has no tuples
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.settings.items()
        }
        settings = replace(config.train, **(usual | given))
        # As batch norm does, matching sees one micro-batch.
        matching = config.loss.matching if self.encoder == NORMED else 0.0
        loss = replace(config.loss, matching=matching)
        return replace(config, name="layouts", model=model, data=data, loss=loss, train=settings)


class ObservedStep(Step):
    """Writes down the keys of its samples; before one step a signal comes."""

    job: Job
    folder: Path

    def __init__(self, module: Any, batches: Any, parallel: Parallel, *others: Any) -> None:
        *_, progress = others
        step = round(progress * STEPS)
        share = BATCH // (parallel.world * len(batches))
        keys = [batch.key[:share].tolist() for batch in batches]  # extra texts come after them
        with (self.folder / f"{self.job.name}.keys").open("a") as file:
            line = [
                step,
                parallel.number,
                parallel.processes,
                [key for part in keys for key in part],
            ]
            file.write(json.dumps(line) + "\n")
        job, told = self.job, self.folder / f"{self.job.name}.signal"
        due = job.action.startswith("SIG") and step == job.step and parallel.number == job.rank
        if due and not told.exists():
            told.write_text(str(time.monotonic()))
            os.kill(os.getpid(), signal.Signals[job.action])
        super().__init__(module, batches, parallel, *others)


def average_twice() -> None:
    """Gradients are divided by the number of processes once more."""
    reduce = Parallel.reduce

    def wrong(self: Parallel, parameters: Any) -> None:
        parameters = [*parameters]
        reduce(self, parameters)
        for p in parameters:
            if p.grad is not None:
                local(p.grad).div_(self.world)

    Parallel.reduce = wrong


class SavedAgain(train.Training):
    """A run that is taken over from its checkpoint and saved, without a step between."""

    def _train(self) -> None:
        self._save()
        self.stop.told = True


def save_again() -> None:
    train.Training = SavedAgain


ACTIONS = {"average twice": average_twice, "save again": save_again}


def work(job: Job, folder: Path) -> None:
    """What one process does."""
    os.environ["OMNI_TIMEOUT"] = str(job.timeout)
    ObservedStep.job, ObservedStep.folder = job, folder
    train.Step = ObservedStep
    train.measure_peak = lambda device, kind: 1e12
    if not job.counts:
        train.count_flops = lambda step, network: 1
    if job.action in ACTIONS:
        ACTIONS[job.action]()
    train.train(job.config(), folder / job.name, job.resume)


def start(job: Job, folder: Path, number: int, port: int) -> int:
    """A fork that is one of the processes of a job."""
    if child := os.fork():
        return child
    said = os.open(folder / f"{job.name}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if job.processes > 1:
        place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": job.processes}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in place.items()}
    try:
        work(job, folder)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)  # the way that every program ends, not os._exit


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Status of each process, what was said, and seconds from the signal to the end of all."""
    if job.copy_of:
        shutil.copytree(folder / job.copy_of, folder / job.name)
        for later in (folder / job.name / "checkpoints").glob("step-*"):
            if job.step and later.name > folder_name(job.step):
                shutil.rmtree(later)
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    children = [start(job, folder, number, port) for number in range(job.processes)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    ended, told = time.monotonic(), folder / f"{job.name}.signal"
    said = (folder / f"{job.name}.said").read_text()
    seconds = ended - (float(told.read_text()) if told.exists() else began)
    return {"statuses": statuses, "seconds": seconds, "said": said}


def main() -> None:
    file = Path(sys.argv[1])
    jobs = [Job(**job) for job in json.loads(file.read_text())]
    if "WORLD_SIZE" in os.environ:
        work(jobs[0], file.parent)
        return
    torch.set_num_threads(1)  # a fork would have none of the others
    Network(jobs[0].config().model, Tokenizer.train(["a"], ["en"], 300))  # imports what it needs
    gc.freeze()  # forks share what was imported
    print(json.dumps({job.name: run(job, file.parent) for job in jobs}))


def as_json(jobs: list[Job]) -> str:
    return json.dumps([asdict(job) for job in jobs])


def launch(folder: Path, jobs: list[Job]) -> dict[str, dict[str, Any]]:
    """What came of jobs, by name, in a new process; each run is a folder in `folder`."""
    file = folder / "jobs.json"
    file.write_text(as_json(jobs))
    command = [sys.executable, "-m", "tests.training.layouts_child", file]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0
    return json.loads(done.stdout)


def tensors(run: Path, step: int = STEPS) -> dict[str, Tensor]:
    """All of a checkpoint: weights, moments, average and memory."""
    reader = Reader(run / "checkpoints" / folder_name(step), "*.safetensors")
    return {name: reader.read(name) for name in reader.shapes}


def metrics(run: Path) -> dict[int, dict[str, float]]:
    """Of each step the losses and the norms of the gradients."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(1, len(lines) + 1)]
    named = {"loss", "norm", *(field.name for field in fields(LossConfig))} - {"memory"}
    return {
        line["step"]: {name: line[name] for name in line if name.split("/")[0] in named}
        for line in lines
    }


def keys(run: Path) -> dict[int, list[int]]:
    """Of each step the keys of the samples of all processes; the last time that it was done."""
    found: dict[int, dict[int, list[int]]] = {}
    for line in run.with_suffix(".keys").read_text().splitlines():
        step, number, processes, own = json.loads(line)
        parts = found.setdefault(step, {})
        found[step] = {n: part for n, part in parts.items() if n < processes} | {number: own}
    return {
        step: sorted(key for part in parts.values() for key in part)
        for step, parts in found.items()
    }


if __name__ == "__main__":
    main()
