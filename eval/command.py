"""The evaluation: what `python -m eval.run [MODEL [TASK ...]]` does.

MODEL is the folder of a run or, to calibrate, a known model (see `eval.adapters`). Writes
results.json (every figure, and what it was measured on), results.md and report.html into the run,
or into --out, and prints the main tables. A second run reads the judges that the first trained.
By `torchrun --nproc-per-node N -m eval.run` several processes share the work.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console

import omni
from eval import adapters, ranks
from eval.bench import Bench
from eval.corpus import SPLITS, Corpus
from eval.embedder import Adapter
from eval.fidelity import Extractor
from eval.folder import Folder
from eval.judge import sha256
from eval.metrics import INTERVAL, Score
from eval.protocol import Protocol, commit
from eval.recogniser import Recogniser
from eval.report import report
from eval.shards import Shards
from eval.table import markdown, tables, terminal
from eval.tasks import (
    BENCHMARKS,
    FOLDERS,
    KNOWN,
    ON_REQUEST,
    QUESTIONS,
    STAMPS,
    TASKS,
    VECTORS,
)
from eval.tasks.answer import SPLIT as ASKED
from eval.tasks.stamps import SPLITS as STAMP_SPLITS
from omni.device import pick_threads
from omni.names import to_text
from omni.pipeline.reader import SampleError
from omni.pretrained import find
from omni.progress import Progress
from omni.training.manifest import folder_name

WORLDS = (
    (TASKS | ON_REQUEST, SPLITS),
    (STAMPS, STAMP_SPLITS),
    (QUESTIONS, (ASKED,)),
    (FOLDERS | BENCHMARKS, ()),
)
"""tasks that go together, and the splits that their shards have beside that for training; of
benchmarks any one, and of a folder of classes there are no shards"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with code 2."""
        self.exit(2, None if ranks.RANK else f"eval: {message}\n")


def parser() -> Parser:
    """The arguments."""
    built = Parser(prog="python -m eval.run", description="Measures a trained model.")
    known = f"folder of the run, or a known model: {', '.join(adapters.FORMS)}"
    built.add_argument("run", nargs="?", default="runs/demo", metavar="model", help=known)
    tasks = (
        f"of {', '.join(TASKS)}, or all of these; {', '.join(ON_REQUEST)}; of stamps "
        f"(--data data/stamps) {', '.join(STAMPS)}; of a folder SPLIT/CLASS/FILE (--data FOLDER) "
        f"{', '.join(FOLDERS)}; of questions {', '.join(QUESTIONS)}; of packed shards of any data "
        f"set {', '.join(BENCHMARKS | FOLDERS)}"
    )
    built.add_argument("tasks", nargs="*", metavar="task", help=tasks)
    built.add_argument("--data", default="data/sample", help="folder of the shards, or classes")
    built.add_argument("--split", help="of any data set: test, or else val")
    built.add_argument("--out", help="folder of results and report; that of the run")
    built.add_argument("--seed", type=int, default=0, help="subsets, noise, sampling, bootstrap")
    built.add_argument("--limit", type=int, default=256, help="items made a direction")
    extractor = "NAME=PATH: network of timm, its weights; drawn pictures then have FID and KID"
    built.add_argument("--extractor", help=extractor)
    recogniser = "folder of a Whisper of CTranslate2: made speech then has WER and CER"
    built.add_argument("--recogniser", help=recogniser)
    built.add_argument("--vocoder", help="SpeechT5HifiGan in place of Griffin-Lim")
    built.add_argument("--step", type=int, help="of the run's checkpoints; none: the newest")
    built.add_argument("--snr", type=float, default=0.0, help="of noisy speech, in dB")
    return built


def measure(arguments: Sequence[str] | None = None) -> None:
    """Measures the tasks and writes the three files."""
    parse = parser()
    given = parse.parse_args(arguments)
    tasks = asked(parse, given)
    known, run = adapters.is_adapter(given.run), Path(given.run)
    splits = next(splits for names, splits in WORLDS if {*tasks} & {*names})
    run = Path("runs") / slug(given.run) if known else run
    out, weights = (run, run) if given.step is None else at(run, given.step)
    torch.set_num_threads(min(2, pick_threads()))
    try:
        extractor = Extractor(given.extractor) if given.extractor else None
        recogniser = Recogniser(given.recogniser) if given.recogniser else None
        data = open_data(given.data, splits, tasks, given.split)
        if known:
            model = adapters.load(given.run, ranks.device())
        else:
            model = omni.load(weights, ranks.device(), given.vocoder)
    except (ValueError, OSError) as error:
        parse.error(" ".join(str(error).split()))
    bench = Bench(
        model=model,
        control=model.untrained(seed=given.seed),
        data=data,
        judges=run.parent / "judges",
        seed=given.seed,
        limit=given.limit,
        snr=given.snr,
        extractor=extractor,
        recogniser=recogniser,
    )
    try:
        with ranks.joined():
            results, meta = measure_all(bench, tasks)
    except (
        ValueError,
        SampleError,
    ) as error:  # perhaps of an item that this process alone was dealt
        parse.exit(2, f"eval: {' '.join(str(error).split())}\n")
    if ranks.RANK:
        return
    meta = describe(given.run, weights, bench, list(arguments or sys.argv[1:])) | meta
    out = Path(given.out or out)
    write(out, results, meta, bench)
    console = Console()
    for table in tables(results):
        console.print(terminal(table))
    console.print(f"{sum(meta['seconds'].values()):.0f} s; report: {out / 'report.html'}")


def asked(parse: Parser, given: argparse.Namespace) -> list[str]:
    """The tasks, if they go together and the model can be asked for them."""
    for task in given.tasks:
        if task not in KNOWN:
            parse.error(f"task must be one of {', '.join(KNOWN)}, got {task!r}")
    known = adapters.is_adapter(given.run)
    tasks = given.tasks or [task for task in TASKS if task in VECTORS or not known]
    if known and (others := [task for task in tasks if task not in VECTORS]):
        parse.error(f"{given.run} embeds only, and {others[0]} asks for more: a run of ours")
    if known and given.step is not None:
        parse.error(f"--step is of a run's checkpoints; {given.run} is a known model")
    if sum(not {*tasks}.isdisjoint(names) for names, _ in WORLDS) > 1:
        parse.error(
            f"{', '.join(tasks)}: some of these are measured apart, on data of another kind"
        )
    if given.limit < 1:
        parse.error(f"--limit must be at least 1, got {given.limit}")
    if not known and not Path(given.run).is_dir():
        parse.error(f"{given.run} is no folder of a run: train one, or name another")
    return tasks


def at(run: Path, step: int) -> tuple[Path, Path]:
    """Where figures of a checkpoint go, and where its weights are."""
    name = folder_name(step)
    return run / "evaluations" / name, run / "checkpoints" / name


def open_data(
    path: str, splits: Sequence[str], tasks: Sequence[str], split: str | None
) -> Corpus | Folder | Shards:
    """What the tasks are measured on. Raises `ValueError` where it is not there."""
    is_folder = {*tasks} <= {*FOLDERS} and not any(Path(path).glob("*-*.tar"))
    if split and (splits or is_folder):
        raise ValueError(f"--split is of packed shards alone, not for {', '.join(tasks)} of {path}")
    if splits:
        return Corpus(path, ("train", *splits))
    return Folder(path) if is_folder else Shards(path, split)


def measure_all(bench: Bench, tasks: Sequence[str]) -> tuple[dict[str, Score], dict[str, Any]]:
    """All figures by name; the seconds that each task took, and the protocol that it states."""
    results, seconds, protocols = {}, {}, {}
    for task in tasks:
        start = time.perf_counter()
        with Progress(task, quiet=ranks.RANK > 0) as progress:
            bench.note = lambda text, task=task, progress=progress: progress.update(
                what=f"{task}: {text}"
            )
            bench.protocol = Protocol()
            spread = partial(ranks.spread, told=partial(show, progress))
            bench.model.spread = bench.control.spread = spread
            for name, score in KNOWN[task](bench):
                stated = bench.protocol.task or task
                results[name] = replace(score, task=stated)
                protocols[stated] = bench.protocol.to_json()
                bench.note(f"{name} {score.value:.3f}")
            seconds[task] = round(time.perf_counter() - start, 1)
            progress.update(1, f"{task} {seconds[task]} s", 1)
    return results, {"seconds": seconds, "protocols": protocols}


def show(progress: Progress, done: int, total: int) -> None:
    """How many of the batches are done."""
    progress.update(done, total=total)


def describe(name: str, weights: Path, bench: Bench, arguments: Sequence[str]) -> dict[str, Any]:
    """What the figures were measured on: model, data, code, machine, and the command."""
    return {
        "model": to_text(name),
        **trained(weights, bench),
        "commit": commit(),
        "processes": ranks.COUNT,
        "interval": INTERVAL,
        "seed": bench.seed,
        "limit": bench.limit,
        "snr": bench.snr,
        "data": bench.data.digest,
        "licences": bench.data.licences,
        "galleries": bench.data.galleries,
        "machine": f"{platform.machine()}, {cpu_name()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": to_text(" ".join(["python -m eval.run", *arguments])),
    }


def trained(run: Path, bench: Bench) -> dict[str, Any]:
    """What the model is called, and which weights it has; of a run, how it was trained, too."""
    if isinstance(bench.model, Adapter):
        return {"config": bench.model.name, "weights": bench.model.weights}
    config = bench.omni.config
    return {"config": config.name, **checkpoint(run), "trained_with_seed": config.train.seed}


def slug(name: str) -> str:
    """The name of a known model as that of a folder."""
    return re.sub(r"[^\w.-]+", "-", name)


def checkpoint(run: Path) -> dict[str, Any]:
    """Which weights were measured: their step (0 where no checkpoint tells) and their sha256."""
    folder = find(run)
    state = folder / "state.json"
    step = json.loads(state.read_text())["step"] if state.exists() else 0
    return {"step": step, "weights": sha256(folder / "model.safetensors")}


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def write(run: Path, results: dict[str, Score], meta: dict[str, Any], bench: Bench) -> None:
    """The three files of an evaluation."""
    run.mkdir(parents=True, exist_ok=True)
    table = {name: score.to_json() for name, score in results.items()}
    text = json.dumps({"meta": meta, "results": table}, indent=2, ensure_ascii=False)
    (run / "results.json").write_text(text + "\n", "utf-8")
    (run / "results.md").write_text(markdown(results, meta), "utf-8")
    page = report(run, results, meta, bench.examples, bench.matrices)
    (run / "report.html").write_text(page, "utf-8", errors="backslashreplace")
