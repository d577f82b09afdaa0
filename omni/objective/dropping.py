"""Whole senses dropped, and made again from the rest: OPT's modality level (arXiv:2107.00249)."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from omni.nn.draws import Draws, Purpose

DROPPED = 0.3
"""probability of each sense"""
ROUNDS = 16


def draw_kept(keys: Int[Tensor, "N"], present: Bool[Tensor, "N 3"]) -> Bool[Tensor, "N 3"]:
    """The senses that stay, fixed by the key of each sample.

    Each goes with a probability of .3 by itself; where none would stay, all are drawn again. So of
    three senses none is dropped in .3525 of the samples, one given sense in .1511 and a given pair
    in .0647.
    """
    draws = Draws(keys, Purpose.MODALITY_DROPOUT).uniform(0, 1, ROUNDS, present.shape[1])
    kept = (draws >= DROPPED) & present[:, None]
    valid = kept.any(2)
    first = kept[torch.arange(len(keys)), valid.int().argmax(1)]
    return torch.where(valid.any(1, keepdim=True), first, present)
