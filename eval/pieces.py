"""The last layer of a judge: a class is known by the pieces of its name.

Letters in shapes: N items, D features, C classes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PieceClassifier(nn.Module):
    """A linear classifier whose row for a class is the sum of learned rows for its pieces.

    "black cat" and "black heart" share what they share, so that a few examples a class suffice:
    240 steps on recordings give .86 where a free row for every class gives .02 (docs/log.md).
    Pieces as in fastText (arXiv:1607.04606); a sum of n is divided by the root of n, so that long
    names weigh as much as short ones.

    Args:
        width: features.
        names: one name for every class.
    """

    def __init__(self, width: int, names: Sequence[str]):
        super().__init__()
        found = [pieces(name) for name in names]
        place = {piece: i for i, piece in enumerate(sorted(set().union(*found)))}
        lengths = torch.tensor([len(one) for one in found])
        flat = torch.tensor([place[piece] for one in found for piece in one])
        self.register_buffer("flat", flat, persistent=False)
        self.register_buffer("starts", lengths.cumsum(0) - lengths, persistent=False)
        shares = lengths.float().rsqrt().repeat_interleave(lengths)
        self.register_buffer("shares", shares, persistent=False)
        self.norm = nn.LayerNorm(width)
        self.rows = nn.EmbeddingBag(len(place), width, mode="sum")
        nn.init.normal_(self.rows.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(len(found)))

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """Logits of each class."""
        rows = self.rows(self.flat, self.starts, per_sample_weights=self.shares)
        return self.norm(x.float()) @ rows.T + self.bias


def pieces(name: str) -> list[str]:
    """Its words, and all strings of two to four letters, with marks at both ends."""
    text = f"^{name.lower()}$"
    grams = [text[i : i + n] for n in (2, 3, 4) for i in range(len(text) - n + 1)]
    return name.lower().split() + grams
