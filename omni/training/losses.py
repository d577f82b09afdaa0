"""One micro-batch to all its losses: what is encoded once serves every objective.

Each sense is encoded and fused once, alone; one set of two senses is fused besides. Each decoder
learns from every source there is. The contrast needs the vectors of all micro-batches of all
processes, and has a file of its own.

A loss is a sum over the items of this micro-batch, divided by what all micro-batches have of them:
added up they are the mean, whatever the number of processes.
"""

from torch import Tensor, nn

from omni.batch import Batch
from omni.config import LossConfig
from omni.network import Network
from omni.training import decoding, joint
from omni.training.micro_batch import MicroBatch
from omni.training.selection import Selection, Source


class Losses(nn.Module):
    """The network and its objectives, as one module: what is sharded over processes."""

    def __init__(self, network: Network, weights: LossConfig) -> None:
        super().__init__()
        self.network, self.weights = network, weights

    def forward(
        self, batch: Batch, selection: Selection, first: int, vectors_only: bool
    ) -> tuple[dict[Source, Tensor], Tensor, dict[str, Tensor]]:
        """Unit vectors of each set of senses, the scale of their cosines, and the other losses.

        `first`: the row of the selection's table with which the batch begins.
        """
        step = MicroBatch(self.network, batch, selection, first)
        vectors = {s: fused.vector[: len(step.rows[s])] for s, fused in step.fused.items()}
        losses = {} if vectors_only else self._losses(step)
        return vectors, self.network.scale, losses

    def _losses(self, step: MicroBatch) -> dict[str, Tensor]:
        """Every loss but the contrast whose weight is not zero, by name (`LossConfig.total`)."""
        weights, selection, losses = self.weights, step.selection, dict[str, Tensor]()
        if weights.next_token and "text" in step.parts:
            for source in (("image",), ("audio",), ("audio", "image")):
                if source in step.fused:
                    losses |= decoding.next_token(step, source)
        if weights.next_token and len(selection.asked):
            losses |= decoding.answer(step)
        if weights.matching and len(selection.matched):
            losses |= joint.matching(step)
        if weights.masked and len(selection.masked):
            losses |= joint.masked(step)
        for sense in selection.flows:
            losses |= decoding.flow(step, sense)
        return losses
