"""Muon for what lies between hidden layers, AdamW for the rest, and the averaged weights."""

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from omni.config import TrainConfig
from omni.network import Network
from omni.training.muon import Muon


def make_optimizers(network: Network, config: TrainConfig) -> list[Optimizer]:
    """Muon for linear maps and kernels inside, AdamW for embeddings, last layers and conditions.

    What decoders read and write (patches, times, vocabulary) stays with AdamW, as is usual with
    Muon. Vectors (norms, biases, offsets) do not decay.
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
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    params = [p for p in network.parameters() if p.requires_grad]
    rest = [p for p in params if p not in hidden]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [
        Muon([p for p in params if p in hidden], config.lr, config.weight_decay),
        AdamW(groups, lr=config.lr, betas=(0.9, 0.98), fused=True),
    ]


def step_all(optimizers: list[Optimizer], lr: float) -> None:
    """One update at the learning rate of this step; the gradients are then gone."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()


def make_average(network: Network, decay: float) -> AveragedModel:
    """Exponential moving average of all weights and running statistics.

    The decay grows from 0 to `decay`, so that the first weights are soon forgotten.
    """

    def mix(averaged: PARAM_LIST, current: PARAM_LIST, count: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            kept = min(decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(averaged, current, 1 - kept)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(network, multi_avg_fn=mix, use_buffers=True)
