"""The contrast of every pair of senses, over all micro-batches of all processes.

Vectors of the whole step are leaves here: the loss is taken and differentiated with respect to
them, and the gradients are fed back into the network that made them, one micro-batch at a time
(cached gradients, arXiv:2101.06983). So nothing but vectors is ever exchanged or kept.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from omni.batch import SENSES
from omni.config import LossConfig
from omni.objective.contrastive import asking, contrastive_loss
from omni.training.selection import Selection, Source

Kept = dict[str, tuple[Tensor, Tensor]]
"""for each sense, unit vectors [K E] of past items and their groups [K], the newest first"""
WITHIN = ((("image",), ("image",)), (("audio",), ("audio",)))
"""other pictures, and other recordings, of the same thing"""
MEMORY_FROM = 0.6
"""share of the steps before past vectors are candidates: at first they change too fast"""


class Contrast:
    """All that is compared in one step: `vectors` of the whole step, in the selection's order."""

    def __init__(
        self,
        vectors: dict[Source, Float[Tensor, "G E"]],
        scale: Float[Tensor, "1"],
        selection: Selection,
        weights: LossConfig,
        past: Kept,
    ) -> None:
        self.vectors = {s: v.detach().requires_grad_() for s, v in vectors.items()}
        self.scale = scale.detach().requires_grad_()
        self.weights, self.past = weights, past
        self.selection = selection
        # On the CPU, where to count what is there to be found makes no device wait.
        self.groups = {s: selection.table.group[rows] for s, rows in selection.rows.items()}
        *joint, third = selection.joint
        self.pairs = {
            "contrastive": [*map(read_pair, weights.pairs)],
            "joint": [(tuple(joint), (third,))],
        }
        if past:
            self.pairs["within"] = WITHIN

    def leaves(self) -> list[Tensor]:
        """What the losses are differentiated with respect to: the vectors, then the scale."""
        return [*self.vectors.values(), self.scale]

    def losses(self, first: int, stop: int) -> dict[str, Tensor]:
        """What the queries in rows `first` to `stop - 1` of the step add to each loss."""
        return {
            f"{name}/{'+'.join(a)}-{b[0]}": self._pair(a, b, first, stop)
            for name, pairs in self.pairs.items()
            for a, b in pairs
            if getattr(self.weights, name) and a in self.vectors and b in self.vectors
        }

    def _pair(self, a: Source, b: Source, first: int, stop: int) -> Tensor:
        """Each item of one set of senses against all of the other, both ways if they are two."""
        ways = [(a, b)] if a == b else [(a, b), (b, a)]
        return torch.stack([self._find(*way, first, stop) for way in ways]).mean()

    def _find(self, a: Source, b: Source, first: int, stop: int) -> Tensor:
        start, end = self.selection.span(a, first, stop)
        keys, groups = self.vectors[b], self.groups[b]
        if len(b) == 1 and b[0] in self.past:
            vectors, theirs = self.past[b[0]]
            keys, groups = torch.cat([keys, vectors]), torch.cat([groups, theirs])
        total = int(asking(self.groups[a], groups, own=a == b).sum())
        queries, asked = self.vectors[a][start:end], self.groups[a][start:end]
        own, device = start if a == b else None, self.scale.device
        asked, groups = asked.to(device), groups.to(device)
        return contrastive_loss(queries, keys, asked, groups, self.scale, own, total)

    def remember(self) -> Kept:
        """The vectors of this step, then those of the past.

        More candidates for the contrast at no cost (cross-batch memory, arXiv:1912.06798). They lie
        by key: which of them are dropped first does not depend on who has dealt with them.
        """
        kept = dict(self.past)
        for (sense, *others), found in self.vectors.items():
            if not others:
                keys = self.selection.table.key[self.selection.rows[sense,]]
                order = keys.argsort(stable=True)
                new = found.detach()[order.to(found.device)], self.groups[sense,][order]
                old = self.past.get(sense, (new[0][:0], new[1][:0]))
                vectors, groups = (torch.cat(p) for p in zip(new, old, strict=True))
                kept[sense] = vectors[: self.weights.memory], groups[: self.weights.memory]
        return kept if self.weights.memory else {}


def read_pair(pair: str) -> tuple[Source, Source]:
    """Two senses joined by "+". Raises `ValueError` for anything else."""
    senses = pair.split("+")
    if len(senses) != 2 or len({*senses} & {*SENSES}) != 2:
        raise ValueError(
            f"loss.pairs must hold two of {', '.join(SENSES)} joined by +, got {pair!r}"
        )
    return (senses[0],), (senses[1],)
