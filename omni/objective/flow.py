"""Flow matching with the clean signal as the prediction.

The path is x_t = t x + (1 - t) noise, so the velocity is v = x - noise = (x - x_t) / (1 - t). The
network predicts x and the loss is taken on v ("Back to Basics: Let Denoising Generative Models
Denoise", arXiv:2511.13720, section 4).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NEAREST = 0.5
"""1 - t is not taken smaller than this: it bounds the weight of nearly clean inputs"""


def draw_times(
    size: int, generator: torch.Generator, device: torch.device, mean: float = -1.0
) -> Float[Tensor, "B"]:
    """Logit-normal times (arXiv:2403.03206, section 3.1); a negative mean draws more noisy ones."""
    normal = torch.randn(size, generator=generator, device=device)
    return torch.sigmoid(mean + normal)


def noised(
    clean: Float[Tensor, "B T P"], noise: Float[Tensor, "B T P"], time: Float[Tensor, "B"]
) -> Float[Tensor, "B T P"]:
    """The point of the path at `time`."""
    t = time[:, None, None]
    return t * clean + (1 - t) * noise


def flow_loss(
    predicted: Float[Tensor, "B T P"],
    clean: Float[Tensor, "B T P"],
    time: Float[Tensor, "B"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity over the patches that are present."""
    weight = (1 - time).clamp(min=NEAREST)[:, None].square().reciprocal() * mask
    error = (predicted - clean).square().mean(-1)
    return (weight * error).sum() / mask.sum().clamp(min=1)
