"""Muon for what lies between hidden layers, AdamW for the rest, and the averaged weights."""

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

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


class Average:
    """Exponential moving average of all weights and running statistics, in float32.

    The decay grows from 0 to `decay`, so that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves the average towards the weights after `step`."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        state = network.state_dict()
        floating = [name for name, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.weights[name] for name in floating], [state[name] for name in floating], weight
        )
        for name in state.keys() - set(floating):
            self.weights[name].copy_(state[name])
