"""A tiny run in which steps go wrong, at chosen positions of the loader.

`torchrun -m tests.training.poison FOLDER data|tensor` trains a run as one of two processes, which
share the samples or the matrices; what goes wrong goes wrong in the second.
"""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import train
from omni.batch import Batch
from omni.config import Config
from omni.network import Network
from omni.presets import debug
from omni.training.losses import Losses
from omni.training.manifest import list_checkpoints
from omni.training.parallel import Parallel
from omni.training.pieces import Reader
from omni.training.recorder import Verdict
from omni.training.step import Step

NAN = float("nan")
PLAN = {1: "image", **dict.fromkeys(range(4, 9), "gradient"), 10: "loss", 14: "audio"}
"""one bad picture, five bad gradients in a row, one bad loss, one bad recording: by position"""
STEPS, SAVE_EVERY = 10, 3


def config(steps: int = STEPS, encoder: str = "test_resnet", accumulate: int = 2) -> Config:
    """All senses and objectives, as small as they can be; batch norms have running statistics."""
    c = debug()
    model = replace(
        c.model,
        width=32,
        embed_dim=32,
        flow_width=32,
        flow_depth=1,
        flow_draft=0,
        image=replace(c.model.image, encoder=encoder, patch=16),
        audio=replace(c.model.audio, num_mels=16, max_seconds=0.4),
        text=replace(c.model.text, vocab_size=300, ngrams=64),
    )
    settings = replace(
        c.train,
        steps=steps,
        save_every=SAVE_EVERY,
        warmup=2,
        log_every=1,
        deterministic=True,
        accumulate=accumulate,
    )
    return replace(
        c, model=model, data=replace(c.data, batch_size=16, extra_texts=8), train=settings
    )


def learned(run: Path) -> dict[str, Tensor]:
    """Weights, moments, averaged weights, statistics and vectors of the newest checkpoint."""
    reader = Reader(list_checkpoints(run)[-1], "*.safetensors")
    return {name: reader.read(name) for name in reader.shapes}


class Faults:
    """What goes wrong at which position: `kinds` says it, and `rank` in which process.

    image, audio: a sample, the last of its sense in the last micro-batch, is NaN for its encoder;
    loss: the loss of pictures is; gradient: one value of the last parameter's is; spike: the
    whole gradient is a hundred times as large; stop: SIGTERM comes; break: an exception does.
    """

    def __init__(self, kinds: Mapping[int, str], patch: pytest.MonkeyPatch, rank: int = 0) -> None:
        self.kinds, self.rank = kinds, rank
        self.kind, self.mine = "", False
        self.positions: list[int] = []
        """of the steps that were begun"""
        self.victims: dict[int, tuple[int, Tensor]] = {}
        """key and raw content of each poisoned sample"""
        patch.setattr(train, "Step", self._begin)
        encode, forward, reduce = Network.encode_signal, Losses.forward, Parallel.after_backward
        patch.setattr(Network, "encode_signal", _method(partial(self._encode, encode)))
        patch.setattr(Losses, "forward", _method(partial(self._forward, forward)))
        patch.setattr(Parallel, "after_backward", _method(partial(self._backward, reduce)))

    def _begin(self, module, batches: list[Batch], parallel: Parallel, past, half, seed, progress):
        """Instead of `Step`; the seed is the position where that of the run is 0."""
        if seed not in self.positions[-1:]:  # of the first step the work is counted beforehand
            self.positions.append(seed)
        self.kind, self.mine = self.kinds.get(seed, ""), parallel.number == self.rank
        if self.kind in ("image", "audio"):
            batch = batches[-1]
            part = batch.parts[self.kind]
            assert batch.key is not None
            key = int(batch.key[part.rows[-1]])
            self.victims[seed] = key, part.data[-1, ..., : int(part.lengths[-1])].clone()
            if self.kind == "image":
                self.victims[seed] = key, part.data[-1].clone()
        if "stop" in self.kind:
            os.kill(os.getpid(), signal.SIGTERM)
        if "break" in self.kind:
            raise InterruptedError
        return Step(module, batches, parallel, past, half, seed, progress)

    def _forward(self, original, losses: Losses, batch: Batch, *rest):
        self.batch = batch
        vectors, scale, others = original(losses, batch, *rest)
        if "loss" in self.kind and self.mine and others:
            others["image_flow"] = others["image_flow"] * NAN
        return vectors, scale, others

    def _encode(self, original, network: Network, sense: str, signal: Tensor, lengths: Tensor):
        if self.kind == sense and self.mine:
            key, _ = self.victims[self.positions[-1]]
            assert self.batch.key is not None
            victim = self.batch.key[self.batch.parts[sense].rows] == key
            shape = -1, *[1] * (signal.ndim - 1)
            signal = signal.masked_fill(victim.view(shape), NAN)
        return original(network, sense, signal, lengths)

    def _backward(self, original, parallel: Parallel, parameters: Iterable[Tensor]) -> None:
        parameters = [p for p in parameters if p.grad is not None]
        if "gradient" in self.kind and self.mine:
            parameters[-1].grad.view(-1)[-1] = NAN
        if "spike" in self.kind:
            torch._foreach_mul_([p.grad for p in parameters], 100.0)
        original(parallel, parameters)


def _method(function):
    """A partial is no method by itself."""
    return lambda own, *arguments: function(own, *arguments)


def skip_by_hand(
    positions: Iterable[int], jumps: Mapping[int, int], patch: pytest.MonkeyPatch
) -> None:
    """Steps that are passed over without a look, and positions from which the loader jumps on."""
    skipped, original = {*positions}, train.Training._step

    def step(training: train.Training, batches: list[Batch]) -> Verdict:
        if training.state.position in jumps:
            return Verdict.ROLL_BACK
        if training.state.position not in skipped:
            return original(training, batches)
        training.state.step += 1
        training.state.position += 1
        training.log.advance()
        return Verdict.ACCEPT

    def jump(training: train.Training) -> None:
        training.state.position = jumps[training.state.position]

    patch.setattr(train.Training, "_step", step)
    patch.setattr(train.Training, "_go_back", jump)


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings, kinds = config(accumulate=1), PLAN
    if sys.argv[2] == "tensor":
        settings, kinds = config(4, "test_vit", accumulate=1), {2: "gradient"}
        layout = replace(settings.train, deterministic=False, mesh=(1, 1, 2))
        settings = replace(settings, train=layout)
    Faults(kinds, pytest.MonkeyPatch(), rank=1)
    train.train(settings, Path(sys.argv[1]))
