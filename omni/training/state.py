"""All that a run has learned, to and from a checkpoint: another mesh may go on with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from omni import lora, warm
from omni.config import Config
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.training.contrast import Kept
from omni.training.losses import Losses
from omni.training.optim import Average, make_optimizers, step_all
from omni.training.parallel import Parallel
from omni.training.pieces import Piece, Reader
from omni.training.slices import local, slice_of, whole

FREE = {
    "name",
    "data.workers",
    *(f"train.{name}" for name in ("device", "compile", "recompute", "offload", "mesh")),
    "train.accumulate",
    *(f"train.{name}" for name in ("threads", "log_every", "save_every", "sample_every")),
}
"""fields of a config that may change from one start of a run to the next"""


class State:
    """The network on this process' part of the mesh, its optimizers, and what goes with them.

    `fresh`: with the weights of others that the config names; or else a checkpoint will be loaded.
    """

    def __init__(
        self,
        config: Config,
        tokenizer: Tokenizer,
        parallel: Parallel,
        fresh: bool = True,
    ) -> None:
        self.config, self.parallel = config, parallel
        torch.manual_seed(config.train.seed)
        self.network = Network(config.model, tokenizer)
        if fresh:
            warm.start(self.network, config.model, tokenizer)
        lora.add_adapters(self.network, config.train)
        self.network = self.network.to(parallel.device).train()
        self.module = parallel.spread(Losses(self.network, config.loss))
        self.optimizers: list[Optimizer] = make_optimizers(self.network, config.train)
        self.average = Average(self.network, config.train.ema)
        self.frozen = [self.network.part(name, "train.frozen") for name in config.train.frozen]
        self.learning = {p for p in self.network.parameters() if p.requires_grad}
        """all that there is to learn: some parts hold what never does"""
        self.past: Kept = {}
        self.step = 0
        """steps done"""
        self.position = 0
        """the step of the loader that comes next: further on after the run has gone back"""
        self._freeze()

    @property
    def num_bytes(self) -> int:
        """About what a checkpoint takes: weights, their average, and two moments of each."""
        return 4 * sum(p.numel() * p.element_size() for p in self.network.parameters())

    def _freeze(self) -> None:
        """What is frozen in the coming step has no gradients, and keeps its statistics."""
        learns = self.step >= self.config.train.thaw * self.config.train.steps
        for part in self.frozen:
            part.train(learns)
            for p in part.parameters():
                p.requires_grad_(learns and p in self.learning)

    def advance(self) -> None:
        """On to the next step."""
        self.step, self.position = self.step + 1, self.position + 1
        self._freeze()

    def update(self, rate: float, norm: float) -> None:
        """One update at a learning rate, by gradients of this norm; they are then gone."""
        shrink = min(1.0, self.config.train.clip / (norm + 1e-6))
        for p in self.network.parameters():
            if p.grad is not None:
                local(p.grad).mul_(shrink)
        step_all(self.optimizers, rate)
        self.average.update(self.network, self.step)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, whole, adapters apart; every process must ask, and gets them."""
        likes = self.network.state_dict()
        averages = self.average.tensors.items()
        return {name: whole(local(average), likes[name]) for name, average in averages}

    def pieces(self) -> dict[str, Piece]:
        """What this process writes of the weights, the moments and the vectors kept."""
        pieces = {key: self.parallel.piece(x, like) for key, x, like in self._tensors()}
        for sense, (vectors, groups) in self.past.items():
            for key, x in ((f"past/vectors/{sense}", vectors), (f"past/groups/{sense}", groups)):
                pieces[key] = self.parallel.piece(x, x)
        return {key: piece for key, piece in pieces.items() if piece is not None}

    def _tensors(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, tensor, and what it is laid out like, of all that is trained."""
        for name, x in self.network.state_dict().items():
            yield f"network/{name}", x, x
        state = {p: moments for o in self.optimizers for p, moments in o.state.items()}
        for name, p in self.network.named_parameters():
            for kind, x in state.get(p, {}).items():
                yield f"optimizer/{kind}/{name}", x, x if x.ndim == 0 else p

    def load(self, folder: Path) -> dict[str, Any]:
        """Takes over what a checkpoint holds; returns its state.json.

        Raises `ValueError` where the tensors of the two are not the same.
        """
        reader = Reader(folder, "*.safetensors")
        for name, x in self.network.state_dict().items():
            _read(reader, f"network/{name}", x)
            _read(reader, name, self.average.tensors[name], x)
        parameters = dict(self.network.named_parameters())
        owners = {p: o for o in self.optimizers for g in o.param_groups for p in g["params"]}
        for optimizer in self.optimizers:
            optimizer.state.clear()
        for key in reader.shapes:
            if key.startswith("optimizer/"):
                _, kind, name = key.split("/", 2)
                p = parameters[name]
                # As many steps as there are updates: a scalar, whatever the parameter is.
                moment = torch.zeros(()) if reader.shapes[key] == () else torch.zeros_like(p)
                _read(reader, key, moment, p)
                owners[p].state[p][kind] = moment
        senses = [key.rsplit("/", 1)[1] for key in reader.shapes if key.startswith("past/vectors/")]
        kept = (
            (s, reader.read(f"past/vectors/{s}"), reader.read(f"past/groups/{s}")) for s in senses
        )
        self.past = {s: (vectors.to(self.parallel.device), groups) for s, vectors, groups in kept}
        state = json.loads((folder / "state.json").read_text())
        self.step, self.position = state["step"], state["position"]
        self._freeze()
        return state


def _read(reader: Reader, name: str, into: Tensor, like: Tensor | None = None) -> None:
    """This process' slice of a tensor. Raises `ValueError` when it has another shape there."""
    like = into if like is None or into.ndim == 0 else like
    shape, offset = slice_of(like)
    if reader.shapes.get(name, shape) != shape:
        raise ValueError(f"tensor {name!r} is {reader.shapes[name]} there, but {shape} here")
    mine = local(into)
    with torch.no_grad():
        mine.copy_(reader.read(name, offset, mine.shape))


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields, not `FREE`, in which two configs as JSON differ: 'name: was A, is B'."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        a, b, path = old.get(name), new.get(name), prefix + name
        if isinstance(a, dict) and isinstance(b, dict):
            found += changes(a, b, f"{path}.")
        elif a != b and path not in FREE:
            found.append(f"{path}: was {a}, is {b}")
    return found
