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
    """Rows in the first half of the width, columns in the second: [height * width_ D].

    Wavelengths go from two cells to the whole grid, so that few cells differ in many dimensions.
    """
    places = [torch.pi * torch.arange(size, device=device) for size in (height, width_)]
    waves = [sinusoid(place, width // 2, longest=len(place)) for place in places]
    rows, columns = waves[0][:, None].expand(-1, width_, -1), waves[1].expand(height, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)
