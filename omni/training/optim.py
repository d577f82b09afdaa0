"""AdamW over two groups, and the averaged weights."""

import torch
from torch import Tensor, nn

from omni.config import TrainConfig


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Matrices and kernels decay; vectors (norms, biases, offsets) and single numbers do not."""
    params = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), fused=True)


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
