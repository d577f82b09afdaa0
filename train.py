"""The training loop, whole: `python train.py PRESET [--section.field value] [--resume]`.

python train.py demo                       # the emoji of the repository, on a laptop
python train.py demo --train.steps 300     # any field of omni/config.py is a flag
python train.py demo --resume              # goes on from the newest checkpoint that is whole
python train.py demo --resume --changed    # the same, though config or data have changed
torchrun --nproc-per-node 2 train.py demo  # on two processes; --train.mesh says how

Ctrl-C or SIGTERM saves and exits with 75: start it again with --resume. Ctrl-C again ends at once.
"""

import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # while there is nothing to save Ctrl-C just ends it
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
import tyro

from omni import warm
from omni.batch import Batch
from omni.config import Config
from omni.device import autocast, describe, pick_device, pick_dtype, pick_threads
from omni.interface import Omni
from omni.learned import KEY, Learned
from omni.modality.text import Tokenizer
from omni.pipeline.loader import Loader
from omni.presets import PRESETS
from omni.pretrained import build
from omni.preview import write_preview
from omni.training import learnable
from omni.training.contrast import MEMORY_FROM
from omni.training.evaluation import evaluate
from omni.training.log import Log
from omni.training.manifest import folder_name
from omni.training.meter import (
    by_part,
    count_flops,
    forget_peak,
    measure_peak,
    padding,
    peak_memory,
)
from omni.training.parallel import Parallel
from omni.training.recorder import Recorder, Verdict
from omni.training.resume import check_changes, is_finished
from omni.training.schedule import is_due, learning_rate
from omni.training.state import State
from omni.training.step import Step
from omni.training.stop import Stop
from omni.training.store import Lock, Store
from omni.validation import validate

PREEMPTED = 75  # exit status (EX_TEMPFAIL) of a run that was told to stop, and can go on


def main() -> None:
    """Reads the command line and trains."""
    flags, arguments = ("--resume", "--changed"), sys.argv[1:]
    config = tyro.extras.overridable_config_cli(
        {name: (preset.__doc__ or "", preset()) for name, preset in PRESETS.items()},
        args=[argument for argument in arguments if argument not in flags],
    )
    try:
        finished = train(config, Path("runs") / config.name, *(f in arguments for f in flags))
    except ValueError as error:
        sys.exit(f"train.py: {error}")
    sys.exit(0 if finished else PREEMPTED)


def train(config: Config, run: Path, resume: bool = False, changed: bool = False) -> bool:
    """Trains up to `config.train.steps`; a finished run is left as it is.

    `changed`: go on although config, tokenizer or data are not what they were. Returns whether the
    run is finished: False when it was told to stop. Raises `ValueError` for what cannot be done.
    """
    validate(config)
    c = config.train
    torch.set_num_threads(1 if c.deterministic else c.threads or pick_threads())
    torch.use_deterministic_algorithms(c.deterministic)
    parallel = Parallel(c, pick_device(c.device))
    with ExitStack() as stack:
        stack.callback(parallel.close)
        if parallel.first:
            print(describe(c.precision, parallel.device))
            run.mkdir(parents=True, exist_ok=True)
            stack.callback(Lock(run).close)
        try:
            return Training(config, run, parallel, stack).go(resume, changed)
        except Exception as error:
            if parallel.processes > 1:  # ends here: the others would wait for this one
                if isinstance(error, ValueError):
                    print(f"train.py: {error}", file=sys.stderr)
                else:
                    traceback.print_exc()
                parallel.abort()
            raise


class Training:
    """One start of a run, from its checkpoint to its end."""

    def __init__(self, config: Config, run: Path, parallel: Parallel, stack: ExitStack) -> None:
        self.config, self.run, self.parallel = warm.resolve(config), run, parallel
        data, c = config.data, config.train
        self.store = Store(run, parallel.number, parallel.processes, parallel.timeout)
        parallel.barrier()  # the first has cleared up what a kill left behind
        stack.callback(self.store.wait)
        place = parallel.rank, parallel.world
        self.loader = Loader(data, c.seed, run, *place, c.accumulate)
        if parallel.first and (warning := self.loader.warning):
            print(f"{run}: {warning}", file=sys.stderr)
        self.stop = Stop(stack, str(run), parallel.first)
        self.saving = 0.0
        """seconds that checkpoints have held up the steps"""
        self.ideal: float | None = None
        """seconds that a step would take at the peak of the device"""

    def go(self, resume: bool, changed: bool) -> bool:
        """Whether the run reached its end."""
        folder = self._newest()
        steps = self.config.train.steps
        if folder and is_finished(self.run, folder, steps, resume):
            return True
        if folder:
            self.tokenizer = Tokenizer.load(folder / "tokenizer.json")
        else:
            self.tokenizer = self.loader.make_tokenizer(self.config.model.text)
        where, loader = ", ".join(self.config.data.path), self.loader
        learned, line = learnable.check(self.config.loss, loader.masks, loader.has_answers, where)
        self.learned = Learned.of(learned, *loader.written)
        if line and self.parallel.first:
            print(line)
        self.state = State(self.config, self.tokenizer, self.parallel, fresh=folder is None)
        if self.parallel.first:
            self.store.check_room(self.state.num_bytes)
        told = self._take_over(folder, changed) if folder else None
        self.recorder = Recorder(self.run, told, self.parallel.first)
        size = self.config.data.batch_size
        tracker = "wandb" if "WANDB_PROJECT" in os.environ else ""
        first = self.parallel.first
        with Log(self.run, self.state.step, steps, size, tracker, first) as self.log:
            while self.state.step < steps and not self.parallel.any(self.stop.told):
                self._train()
        self.store.wait()
        last = folder_name(self.state.step)
        if failed := [f for f in self.store.failures if f.startswith(f"{last}:")]:
            raise ValueError(f"the last checkpoint is not written: {failed[-1]}")
        if self.state.step < steps and self.parallel.first:
            print(f"{self.run} has stopped after step {self.state.step}: go on with --resume")
        return self.state.step == steps

    def _newest(self) -> Path | None:
        """The newest whole checkpoint, as the first process finds it; says why not a newer one."""
        found = self.store.newest() if self.parallel.first else None
        folder, reasons = found or (None, [])
        for reason in reasons:
            print(f"{self.run}: passed over: {reason}", file=sys.stderr)
        return self.parallel.tell(folder)

    def _take_over(self, folder: Path, changed: bool) -> dict[str, Any]:
        """Goes on from a checkpoint; returns what its recorder knew."""
        others, beside = [], self.loader.find_tokenizer()
        if beside and beside.fast.to_str() != self.tokenizer.fast.to_str():
            others.append("tokenizer.json beside the shards")
        check_changes(folder, json.loads(self.config.to_json()), others, changed)
        told = self.state.load(folder)
        self.state.position = self.loader.restore(told["loader"], changed)
        return told["recorder"]

    def _train(self) -> None:
        """Step after step, until the end, a signal, or the decision to go back."""
        config, c, state = self.config, self.config.train, self.state
        end, every = state.position + c.steps - state.step, config.evaluate.every
        batches = self.loader.batches(state.position, end, self.tokenizer, config.model)
        with closing(batches):
            while micro_batches := [
                batch.copy() if c.accumulate > 1 else batch
                for batch in islice(batches, c.accumulate)
            ]:
                if self._step(micro_batches) is Verdict.ROLL_BACK:
                    self._go_back()
                    return
                done = state.step
                stop = self.parallel.any(self.stop.told)
                asked = is_due(done, every)
                due = (asked or is_due(done, c.save_every)) and not self.recorder.skipped
                if due or done == c.steps or stop:
                    self._save()
                if due and asked:
                    self._evaluate()
                if c.sample_every and (is_due(done, c.sample_every) or done == c.steps):
                    self._preview()
                if stop:
                    self.stop.told = True
                    return

    def _step(self, batches: list[Batch]) -> Verdict:
        """One step of the model, if it is sound."""
        config, c, state, parallel = self.config, self.config.train, self.state, self.parallel
        half = autocast(c.precision, parallel.device)
        seed = c.seed * 1_000_003 + state.position
        inputs = state.module, batches, parallel, state.past, half, seed, state.step / c.steps
        if self.ideal is None:
            flops = count_flops(lambda: Step(*inputs).backward(), state.network)
            kind = pick_dtype(c.precision, parallel.device)
            # Of matrices that are split by heads the counter sees the whole.
            self.ideal = flops / parallel.sizes[2] / measure_peak(parallel.device, kind)
            forget_peak(parallel.device)
        step = Step(*inputs)
        losses = step.backward()
        parts = parallel.norms(by_part(state.network.named_parameters()))
        values = torch.stack([*losses.values()]).tolist() if losses else []
        told = dict(zip(losses, values, strict=True))
        norm, rate = math.hypot(*parts.values()), learning_rate(state.step, c.lr, c.warmup, c.steps)
        verdict = self.recorder.judge(state.step + 1, told, norm, parts, self._names(step))
        if verdict is Verdict.ACCEPT:
            step.statistics.accept()
            state.update(rate, norm)
            if state.step >= MEMORY_FROM * c.steps:
                state.past = step.remember()
        else:
            state.network.zero_grad()
        state.advance()
        self.log.advance()
        if is_due(state.step, c.log_every) or state.step == c.steps:
            told = {"loss": config.loss.total(told)} | told | {"norm": norm, "lr": rate}
            told |= {f"norm/{part}": value for part, value in parts.items()}
            told |= {f"padding/{sense}": value for sense, value in padding(batches[0]).items()}
            told |= {"scale": step.scale, "memory": peak_memory(parallel.device)}
            told |= {"damaged": self.loader.damaged, "failed saves": len(self.store.failures)}
            lost = {"waiting": self.loader.waited, "saving": self.saving}
            self.log.record(state.step, told, lost, self.ideal)
        return verdict

    def _names(self, step: Step) -> Iterator[str]:
        """The samples of a step: those whose vectors are not finite, or else all."""
        yield from self.loader.names(self.state.position, step.suspects())

    def _go_back(self) -> None:
        """To the newest checkpoint, and on with other samples."""
        step, position = self.state.step, self.state.position
        self.store.wait()
        self.parallel.barrier()
        folder = self._newest()
        self.recorder.check(step, folder)
        assert folder
        told = self.state.load(folder)
        self.state.position = position
        self.recorder.roll_back(step, self.state.step, told["recorder"])
        self.log.rewind(self.state.step)

    def _save(self) -> None:
        state, config, began = self.state, self.config, time.monotonic()
        documents = {
            "config.json": config.to_json(),
            "tokenizer.json": self.tokenizer.to_json(),
            "state.json": json.dumps(
                {
                    "step": state.step,
                    "position": state.position,
                    "loader": self.loader.state(state.position),
                    "recorder": self.recorder.state(),
                }
            ),
        }
        facts = {"threads": torch.get_num_threads(), "mesh": self.parallel.sizes}
        facts |= {"accumulate": config.train.accumulate, KEY: self.learned.to_json()}
        pieces, weights = state.pieces(), state.weights()
        if not self.parallel.first:  # what is whole is written once
            weights, documents, facts = {}, {}, {}
        self.store.save(state.step, pieces, weights, documents, facts)
        self.saving += time.monotonic() - began

    def _evaluate(self) -> None:
        """Figures of the checkpoint that was just written, beside those of the step."""
        self.store.wait()
        if self.parallel.first:
            figures = evaluate(self.run, self.state.step, self.config, lambda: self.stop.told)
            self.log.add(self.state.step, figures)
        self.parallel.barrier()

    def _preview(self) -> None:
        """Pictures, speech and captions by the averaged weights."""
        weights = self.state.weights()
        if self.parallel.first:
            network = build(self.config, self.tokenizer, weights)
            model = Omni(network, self.tokenizer, self.config, str(self.parallel.device))
            samples = self.loader.examples(8, self.config.model.audio.sample_rate)
            write_preview(model, samples, self.run / "preview" / folder_name(self.state.step))


if __name__ == "__main__":
    main()
