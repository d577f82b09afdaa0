"""Training in processes that are killed, and what there is to compare of two runs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from omni.config import Config
from omni.pipeline.synthetic import _members, make_samples
from omni.pipeline.writer import write_shard
from omni.presets import debug
from omni.training.manifest import list_checkpoints

ROOT = Path(__file__).resolve().parents[2]
MEASURED = {"seconds", "samples/s", "waiting", "saving", "mfu", "memory", "rss slope"}
"""of metrics.jsonl: no two runs are alike in these"""
SAMPLES, BATCH, STEPS, SAVE = 32, 8, 12, 4
"""an epoch has 4 steps, the warm-up too, and a run of all three senses and objectives 12"""


def write_world(folder: Path, samples: int = SAMPLES) -> str:
    """Two shards of coloured shapes that sing."""
    folder.mkdir(parents=True)
    made = [(sample.key, _members(sample)) for sample in make_samples("train", samples)]
    for number in range(2):
        write_shard(folder / f"train-{number:06d}.tar", made[number::2])
    return str(folder)


def tiny(world: str, seed: int = 0) -> Config:
    """A run of a few seconds that has everything."""
    config = debug()
    text = replace(config.model.text, vocab_size=300, ngrams=64)
    sizes = {"width": 32, "embed_dim": 32, "flow_width": 32, "flow_depth": 1, "flow_draft": 32}
    every = {"log_every": 1, "save_every": SAVE}
    return replace(
        config,
        model=replace(config.model, text=text, **sizes),
        data=replace(config.data, path=(world,), batch_size=BATCH, extra_texts=BATCH),
        loss=replace(config.loss, memory=24, masked=0.25, dropping=0.25, word_dropout=0.25),
        train=replace(config.train, steps=STEPS, warmup=4, seed=seed, deterministic=True, **every),
    )


@dataclass(frozen=True)
class Outcome:
    """How an attempt to train ended."""

    status: int
    """of the process; below 0 the signal that ended it"""
    said: str
    beside: "Outcome | None" = None
    """of a second attempt, made while the first was stopped"""


class Trainer:
    """A process that forks one that trains, as often as it is asked to."""

    def __init__(self) -> None:
        code = "from tests.training.kill_child import serve; serve()"
        # With -c: a main module that is a file would be imported by every loader worker.
        command = [sys.executable, "-W", "ignore", "-c", code]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, config: Config, run: Path, *flags: str, at: list[tuple[int, str]] | None = None
    ) -> Outcome:
        """`python train.py tiny FLAGS`, where things happen `at` steps: see `kill_child.Places`.

        `run` is FOLDER/runs/NAME.
        """
        run.parent.mkdir(parents=True, exist_ok=True)
        text = replace(config, name=run.name).to_json()
        job = {"config": text, "run": str(run), "flags": flags, "at": at or []}
        assert self.process.stdin and self.process.stdout
        print(json.dumps(job), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        beside = answer.pop("beside")
        return Outcome(**answer, beside=Outcome(**beside) if beside else None)

    def close(self) -> None:
        self.process.communicate()


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics(run: Path) -> dict[int, dict[str, Any]]:
    """All that was logged of each step and can be compared."""
    lines = read_lines(run / "metrics.jsonl")
    told = {ln["step"]: {k: v for k, v in ln.items() if k not in MEASURED} for ln in lines}
    assert [ln["step"] for ln in lines] == sorted(told), "a step is logged twice"
    return told


def differences(run: Path, reference: Path) -> list[tuple[int, str]]:
    """Steps in which a run was not what the other was, at any attempt, and what was different.

    Looked at are the samples, all weights and moments after the step, and what was logged of it.
    """
    found = []
    trail = {line["step"]: line for line in read_lines(reference / "trail.jsonl")}
    pairs = [(line["step"], line, trail) for line in read_lines(run / "trail.jsonl")]
    pairs += [(step, line, metrics(reference)) for step, line in metrics(run).items()]
    for step, line, others in pairs:
        other = others[step]
        names = line.keys() | other.keys()
        found += [(step, name) for name in names if line.get(name) != other.get(name)]
    return sorted(found)


def is_same(run: Path, reference: Path) -> bool:
    """Whether two finished runs agree in every step and in every bit of what they saved last."""
    mine, other = list_checkpoints(run)[-1], list_checkpoints(reference)[-1]
    assert mine.name == other.name == f"step-{STEPS:06d}"
    for file in ("model.safetensors", "training-00000.safetensors"):
        a, b = load_file(mine / file), load_file(other / file)
        assert a.keys() == b.keys()
        if not all(torch.equal(a[name], b[name]) for name in a):
            return False
    assert metrics(run).keys() == metrics(reference).keys() == {*range(1, STEPS + 1)}
    return differences(run, reference) == []
