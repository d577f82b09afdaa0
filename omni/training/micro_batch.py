"""One micro-batch, encoded once: what all objectives take from."""

import torch
from jaxtyping import Int
from torch import Tensor

from omni.batch import SENSES, Batch, Tokens
from omni.network import Fused, Network
from omni.training.selection import Selection, Source


class MicroBatch:
    """The senses of a micro-batch, encoded, and the sets of them that are fused.

    Args:
        selection: of the whole step.
        first: the row of its table with which the micro-batch begins.
    """

    def __init__(self, network: Network, batch: Batch, selection: Selection, first: int) -> None:
        self.network, self.batch = network, batch
        self.selection, self.first = selection, first
        self.device = batch.group.device
        assert batch.key is not None
        self.key = batch.key
        # What is not there is stood for by one item that counts nothing: all processes must do the
        # same work, in the same order, or they wait for each other for ever.
        self.parts = {
            s: batch.parts.get(s) or network.blank(s, self.device) for s in selection.senses
        }
        augmented = {s for s in self.parts if s != "image" or not selection.clean}
        self.signals = {
            s: network.prepare(
                s, part, self.key[part.rows.clamp(min=0)] if s in augmented else None
            )
            for s, part in self.parts.items()
        }
        """what the encoders were shown, and its lengths"""
        self.tokens = {s: network.encode_signal(s, *signal) for s, signal in self.signals.items()}
        self.rows = {source: self.mine(rows) for source, rows in selection.rows.items()}
        self.fused: dict[Source, Fused] = {}
        for source, rows in self.rows.items():
            tokens = (self._tokens(sense, rows, len(source) > 1) for sense in source)
            self.fused[source] = network.fuse(*tokens)

    def mine(self, rows: Int[Tensor, "G"]) -> Int[Tensor, "N"]:
        """Of rows of the whole step those of this micro-batch, counted from its first."""
        mine = rows[(rows >= self.first) & (rows < self.first + self.batch.size)] - self.first
        return mine.to(self.device)

    def items(self, rows: Int[Tensor, "N"]) -> Int[Tensor, "N 3"]:
        """Which item of each sense belongs to some samples; -1 where they lack it."""
        items = torch.full((len(rows), len(SENSES)), -1, device=self.device)
        for sense, part in self.parts.items():
            at = torch.searchsorted(part.rows, rows).clamp(max=len(part.rows) - 1)
            items[:, SENSES.index(sense)] = torch.where(part.rows[at] == rows, at, -1)
        return items

    def _tokens(self, sense: str, rows: Tensor, some: bool) -> Tokens:
        tokens = self.tokens[sense]
        return (
            tokens[at_least_one(torch.searchsorted(self.parts[sense].rows, rows))]
            if some
            else tokens
        )


def at_least_one(index: Int[Tensor, "K"]) -> Int[Tensor, "K"]:
    """The same, or the first item where there is none."""
    return index if len(index) else index.new_zeros(1)
