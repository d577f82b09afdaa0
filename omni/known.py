"""Pairs of things that are known to belong together: what is like them belongs together too.

Letters: P pairs, Q queries, G items of a gallery, E width of the vectors.
"""

import torch
from jaxtyping import Float
from torch import Tensor

WEIGHT = 6.0
"""of what is known beside the contrast's word, where all that is sought is (docs/log.md)"""
TOGETHER = 256
"""queries that are compared at once"""


class Known:
    """Pairs of unit vectors, such as those of a training set.

    A query is like the first things of some pairs, an item like the second things of some. They
    belong together as far as these are the same pairs p:

        log sum_p softmax(scale query . first)_p softmax(scale item . second)_p

    A drawing that is like other drawings of an apple is then found by "apple", although its own
    vector is not very near. (A cache as that of Tip-Adapter, arXiv:2207.09519, whose keys are soft
    on both sides.) What is like nothing that is known loses by it.

    Args:
        first, second: of each pair.
        scale: inverse temperature of the contrast that the vectors are of.
        weight: of what is known; smaller where much is sought that never was seen.
    """

    def __init__(
        self,
        first: Float[Tensor, "P E"],
        second: Float[Tensor, "P E"],
        scale: float,
        weight: float = WEIGHT,
    ) -> None:
        self.first, self.second, self.scale, self.weight = first, second, scale, weight

    def compare(
        self, queries: Float[Tensor, "Q E"], gallery: Float[Tensor, "G E"]
    ) -> Float[Tensor, "Q G"]:
        """What to add to their cosines."""
        items = (self.scale * gallery @ self.second.T).softmax(1)
        rows = [
            (self.scale * some @ self.first.T).softmax(1) @ items.T
            for some in queries.split(TOGETHER)
        ]
        smallest = torch.finfo(items.dtype).tiny
        return torch.cat(rows).clamp_min(smallest).log() * (self.weight / self.scale)
