"""Muon for what lies between hidden layers, AdamW for the rest, and the averaged weights."""

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from omni.config import TrainConfig
from omni.device import pick_dtype
from omni.network import Network
from omni.nn.transformer import Gist
from omni.training.muon import Muon
from omni.training.slices import local, mesh_of


def make_optimizers(network: Network, config: TrainConfig) -> list[Optimizer]:
    """Muon for linear maps and kernels inside, AdamW for embeddings, last layers and conditions.

    What decoders read and write (patches, times, vocabulary) stays with AdamW, as is usual with
    Muon, and so do the straight ways from pretrained encoders to the vector. Vectors (norms,
    biases, offsets) do not decay.
    """
    inside = [network.encoders, network.projections, network.shared, network.head]
    inside += [
        network.text_decoder.blocks,
        *(network.flow(sense).blocks for sense in network.flows),
    ]
    hidden = {
        module.weight: None
        for part in inside
        for module in part.modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, Gist)
    }
    params = [p for p in network.parameters() if p.requires_grad]
    # One kernel takes what lies on one mesh: matrices split by heads are not on that of the rest.
    groups: dict[tuple[bool, int], list[nn.Parameter]] = {}
    for p in params:
        if p not in hidden:
            groups.setdefault((p.ndim >= 2, id(mesh_of(p))), []).append(p)
    settings = [
        {"params": members, "weight_decay": config.weight_decay * decays}
        for (decays, _), members in groups.items()
    ]
    dtype = pick_dtype(config.precision, network.log_scale.device)
    return [
        Muon([p for p in params if p in hidden], config.lr, config.weight_decay, dtype),
        AdamW(settings, lr=config.lr, betas=(0.9, 0.98), fused=True),
    ]


def step_all(optimizers: list[Optimizer], lr: float) -> None:
    """One update at the learning rate of this step; the gradients are then gone."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()


class Average:
    """Exponential moving average of all weights and running statistics.

    `tensors` are laid out as those of the network: where these are slices, so are they.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.tensors = {n: t.detach().clone() for n, t in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """After the update of `step`: the decay grows to its value, so the start is forgotten."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, current in network.state_dict().items():
            averaged, current = local(self.tensors[name]), local(current)
            if averaged.is_floating_point():
                averaged.lerp_(current, 1 - kept)
            else:
                averaged.copy_(current)
