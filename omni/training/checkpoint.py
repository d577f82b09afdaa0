"""Checkpoints: a new folder each, complete or absent; the newest is what a run resumes from.

A checkpoint is a model folder (see `omni.pretrained`, with the averaged weights) and beside it
training.safetensors (weights and moments) and state.json. It is written under another name,
synced and renamed, and only then are old ones removed: a kill at any moment leaves a valid one.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from omni import pretrained
from omni.config import Config
from omni.modality.text import Tokenizer
from omni.training.losses import Kept

KEEP = 2


def save_checkpoint(
    run: Path,
    step: int,
    loader: dict[str, Any],
    config: Config,
    tokenizer: Tokenizer,
    network: nn.Module,
    optimizers: list[Optimizer],
    average: AveragedModel,
    past: Kept,
) -> Path:
    """Writes runs/NAME/checkpoints/step-NNNNNN after `step` steps; returns the folder.

    `loader`: what the loader needs to go on, `past`: the vectors that the contrast remembers.
    """
    folder = run / "checkpoints" / f"step-{step:06d}"
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    pretrained.save(partial, config, tokenizer, average.module.state_dict())
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    for name, moments in _moments(network, optimizers).items():
        tensors |= {f"optimizer/{kind}/{name}": value for kind, value in moments.items()}
    for sense, (vectors, groups) in past.items():
        tensors |= {f"past/vectors/{sense}": vectors, f"past/groups/{sense}": groups}
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial / "training.safetensors")
    (partial / "state.json").write_text(json.dumps({"step": step, "loader": loader}))
    for path in (*partial.iterdir(), partial):
        _sync(path)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    _sync(folder.parent)
    for old in list_checkpoints(run)[:-KEEP]:
        shutil.rmtree(old)
    return folder


def list_checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    return sorted(path.parent for path in run.glob("checkpoints/step-*/state.json"))


def load_checkpoint(
    folder: Path, network: nn.Module, optimizers: list[Optimizer], average: AveragedModel
) -> tuple[dict[str, Any], Kept]:
    """Restores everything in place; returns the state of the loader and the vectors kept."""
    device = str(next(network.parameters()).device)
    tensors = load_file(folder / "training.safetensors", device)
    network.load_state_dict(_under(tensors, "network/"))
    owners = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    parameters = dict(network.named_parameters())
    for key, value in _under(tensors, "optimizer/").items():
        kind, name = key.split("/", 1)
        parameter = parameters[name]
        owners[parameter].state[parameter][kind] = value
    average.module.load_state_dict(load_file(folder / "model.safetensors"))
    state = json.loads((folder / "state.json").read_text())
    average.n_averaged.fill_(state["step"])
    vectors, groups = _under(tensors, "past/vectors/"), _under(tensors, "past/groups/")
    past = {sense: (vectors[sense], groups[sense]) for sense in vectors}
    return state["loader"], past


def _moments(network: nn.Module, optimizers: list[Optimizer]) -> dict[str, dict[str, Tensor]]:
    """What the optimizers remember of each parameter, by its name."""
    state = {p: moments for optimizer in optimizers for p, moments in optimizer.state.items()}
    return {name: state[p] for name, p in network.named_parameters() if p in state}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
