"""A norm for convolutions over sequences of several lengths."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

GROUP = 16
"""channels of one group"""
EPSILON = 1e-5


class SequenceGroupNorm(nn.Module):
    """Group norm (arXiv:1803.08494) over what is present of each item, and nothing else.

    Padding counts nowhere, nor do the other items of a batch: what comes of an item is the same
    in every batch. (The norm of each position alone learns speech very slowly: docs/log.md.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = max(1, channels // GROUP)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "N C M F"], present: Bool[Tensor, "N 1 1 F"]
    ) -> Float[Tensor, "N C M F"]:
        """What is absent is zero before, and not after."""
        x = x * present
        count = present.sum(-1).reshape(-1, 1, 1) * x.shape[1] * x.shape[2] / self.groups
        sums = (
            x.sum((2, 3), dtype=torch.float32),
            torch.linalg.vector_norm(x, dim=(2, 3), dtype=torch.float32).square(),
        )
        mean, square = (
            s.unflatten(1, (self.groups, -1)).sum(2, keepdim=True) / count for s in sums
        )
        variance = (square - mean.square()).clamp(min=0)  # rounded, it may be less
        scale = (variance + EPSILON).rsqrt() * self.weight.view(1, self.groups, -1)
        shift = self.bias.view(1, self.groups, -1) - mean * scale
        scale, shift = (s.flatten(1)[:, :, None, None].to(x.dtype) for s in (scale, shift))
        return torch.addcmul(shift, x, scale)
