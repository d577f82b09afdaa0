"""Fixed sinusoidal positions, for sequences of any length and grids of any size."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoid(
    positions: Float[Tensor, "..."], width: int, longest: float = 10_000.0
) -> Float[Tensor, "... D"]:
    """Sines and cosines of wavelengths from 2 pi to 2 pi `longest` (arXiv:1706.03762)."""
    half = width // 2
    rates = torch.exp(
        -math.log(longest) * torch.arange(half, device=positions.device) / max(half - 1, 1)
    )
    angles = positions[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def sequence(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Positions 0 ... length - 1: [length D]."""
    return sinusoid(torch.arange(length, device=device), width, longest=1000.0)


def grid(height: int, width_: int, width: int, device: torch.device | None = None) -> Tensor:
    """Rows in the first half of the width, columns in the second: [height * width_ D]."""
    rows = sequence(height, width // 2, device)[:, None].expand(-1, width_, -1)
    columns = sequence(width_, width // 2, device)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)
