"""One micro-batch to all its losses: what is encoded once serves every objective.

Each sense is encoded and fused once, alone; one set of two senses is fused besides. Each decoder
learns from every source there is. The contrast needs the vectors of all micro-batches of all
processes, and has a file of its own.

A loss is a sum over the items of this micro-batch, divided by what all micro-batches have of them:
added up they are the mean, whatever the number of processes.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from omni.batch import SENSES, Batch, Part, Tokens
from omni.config import LossConfig
from omni.modality.text import PAD
from omni.network import Fused, Network, take
from omni.nn.draws import Draws
from omni.objective.flow import draw_noise, draw_times, flow_loss, noised
from omni.objective.next_token import next_token_loss
from omni.training.selection import Selection, Source

LENGTH = 0.2
"""weight of the length of speech, in log frames, beside the speech"""
UNCONDITIONAL = 0.1
"""share of the items of a flow decoder that learn without a source, for guidance"""
NOISE, TIME, DROP = 20, 30, 40
"""purposes of draws, to which the number of the sense is added"""


def stack(memories: list[Tokens]) -> Tokens:
    """Sequences of several lengths as one padded batch."""
    longest = max(memory.x.shape[1] for memory in memories)
    x = [F.pad(m.x, (0, 0, 0, longest - m.x.shape[1])) for m in memories]
    mask = [F.pad(m.mask, (0, longest - m.mask.shape[1])) for m in memories]
    return Tokens(torch.cat(x), torch.cat(mask))


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
        step = _MicroBatch(self.network, self.weights, batch, selection, first)
        vectors = {s: fused.vector[: len(step.rows[s])] for s, fused in step.fused.items()}
        losses = {} if vectors_only else step.losses()
        return vectors, self.network.scale, losses


class _MicroBatch:
    """The state of one forward pass."""

    def __init__(
        self,
        network: Network,
        weights: LossConfig,
        batch: Batch,
        selection: Selection,
        first: int,
    ) -> None:
        self.network, self.weights, self.batch = network, weights, batch
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
        self.tokens = {
            s: network.encode(s, part, self.key[part.rows.clamp(min=0)] if s in augmented else None)
            for s, part in self.parts.items()
        }
        self.rows = {source: self._mine(rows) for source, rows in selection.rows.items()}
        self.fused: dict[Source, Fused] = {}
        for source, rows in self.rows.items():
            tokens = (self._tokens(sense, rows, len(source) > 1) for sense in source)
            self.fused[source] = network.fuse(*tokens)

    def _mine(self, rows: Int[Tensor, "G"]) -> Int[Tensor, "N"]:
        """Of rows of the whole step those of this micro-batch, counted from its first."""
        mine = rows[(rows >= self.first) & (rows < self.first + self.batch.size)] - self.first
        return mine.to(self.device)

    def _tokens(self, sense: str, rows: Tensor, some: bool) -> Tokens:
        tokens = self.tokens[sense]
        return tokens[_some(torch.searchsorted(self.parts[sense].rows, rows))] if some else tokens

    def losses(self) -> dict[str, Tensor]:
        """Every loss but the contrast whose weight is not zero, by name (`LossConfig.total`)."""
        losses: dict[str, Tensor] = {}
        if self.weights.next_token and "text" in self.parts:
            for source in (("image",), ("audio",), ("audio", "image")):
                if source in self.fused:
                    losses[f"next_token/{'+'.join(source)}"] = self._next_token(source)
        for sense in self.selection.flows:
            losses |= self._flow(sense)
        return losses

    def _next_token(self, source: Source) -> Tensor:
        everywhere = self.selection.common(source, ("text",))
        mine, text = self._mine(everywhere), self.parts["text"]
        i = _some(torch.searchsorted(self.rows[source], mine))
        j = _some(torch.searchsorted(text.rows, mine))
        language = text.data[:, 0] if self.batch.language is None else self.batch.language
        ids, memory = text.data, self.fused[source].tokens[i]
        decoder = self.network.text_decoder
        inputs, targets = torch.cat([language[j, None], ids[j, :-1]], 1), ids[j]
        hidden, _ = decoder.hidden(inputs, decoder.keys(memory), memory.mask)
        # Most positions are padding: only the others are worth a row of the vocabulary.
        present = targets != PAD
        total = int(self.selection.table.lengths[everywhere, SENSES.index("text")].sum())
        loss = next_token_loss(decoder.head(hidden[present]), targets[present], total)
        return loss * bool(len(mine))

    def _flow(self, sense: str) -> dict[str, Tensor]:
        """The decoder of `sense` on what is dealt out to it."""
        dealt = self.selection.flows[sense]
        memories, rows = [], []
        for source, everywhere in dealt.items():
            mine = self._mine(everywhere)
            memories.append(self.fused[source].tokens[torch.searchsorted(self.rows[source], mine)])
            rows.append(mine)
        if not memories:
            return {}
        rows = torch.cat(rows)
        if not (count := len(rows)):
            source = next(iter(dealt))
            memories, rows = [self.fused[source].tokens[_some(rows)]], _some(rows)
        memory = stack(memories)
        index = torch.searchsorted(self.parts[sense].rows, rows)
        part = take(self.parts[sense], index if count else rows)
        everywhere = torch.cat([*dealt.values()])
        lengths = self.selection.table.lengths[everywhere, SENSES.index(sense)]
        total = int(self.network.num_patches(sense, lengths).sum())
        losses = {f"{sense}_flow": self._flow_loss(sense, memory, part, self.key[rows], total)}
        if sense == "audio":
            frames = self.network.log_mel.num_frames(part.lengths).float().log()
            error = F.smooth_l1_loss(self.network.num_frames(memory), frames, reduction="sum")
            losses["audio_flow/length"] = LENGTH * error / max(len(everywhere), 1)
        return {name: loss * bool(count) for name, loss in losses.items()}

    def _flow_loss(
        self, sense: str, memory: Tokens, part: Part, keys: Tensor, total: int
    ) -> Tensor:
        clean, mask = self.network.patches(sense, part)
        flow, number = self.network.flow(sense), SENSES.index(sense)
        # As long as can be: what is drawn for an item does not depend on its neighbours' length.
        noise = draw_noise(keys, NOISE + number, len(flow.positions), clean.shape[2])
        noise = noise[:, : clean.shape[1]]
        time = draw_times(keys, TIME + number)
        drop = Draws(keys, DROP + number).uniform(0, 1) < UNCONDITIONAL
        predicted = flow(noised(clean, noise, time), mask, time, memory.x, memory.mask, drop)
        return flow_loss(predicted, clean, time, mask, total)


def _some(index: Int[Tensor, "K"]) -> Int[Tensor, "K"]:
    """The same, or the first item where there is none."""
    return index if len(index) else index.new_zeros(1)
