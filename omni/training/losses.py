"""One forward pass to all losses: what is encoded once serves every objective.

Each sense is encoded and fused once, alone; one set of two senses is fused besides. Contrast is
over every pair present, also of the two senses together against the third; each decoder learns
from every source that the batch offers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from omni.batch import Batch, Part, Tokens
from omni.config import LossConfig
from omni.modality.text import PAD
from omni.network import Fused, Network, take
from omni.objective.contrastive import contrastive_loss
from omni.objective.flow import draw_times, flow_loss, noised
from omni.objective.next_token import next_token_loss

VIEW = ("view",)
PAIRS = (
    (("image",), ("text",)),
    (("audio",), ("text",)),
    (("image",), ("audio",)),
    (VIEW, ("text",)),
    (VIEW, ("audio",)),
    (VIEW, ("image",)),
)
JOINT = (("audio", "image", "text"), ("audio", "text", "image"), ("image", "text", "audio"))
"""two senses together, and the third"""
UNCONDITIONAL = 0.1
"""share of the items of a flow decoder that learn without a source, for guidance"""


def match(
    a: Int[Tensor, "N"], b: Int[Tensor, "K"], size: int
) -> tuple[Int[Tensor, "C"], Int[Tensor, "C"]]:
    """Where two lists of rows of a batch of `size` agree: indices into `a` and into `b`."""
    table = torch.full((2, size), -1, device=a.device)
    table[0, a] = torch.arange(len(a), device=a.device)
    table[1, b] = torch.arange(len(b), device=a.device)
    i, j = table[:, (table >= 0).all(0)]
    return i, j


def stack(memories: list[Tokens]) -> Tokens:
    """Sequences of several lengths as one padded batch."""
    longest = max(memory.x.shape[1] for memory in memories)
    x = [F.pad(m.x, (0, 0, 0, longest - m.x.shape[1])) for m in memories]
    mask = [F.pad(m.mask, (0, longest - m.mask.shape[1])) for m in memories]
    return Tokens(torch.cat(x), torch.cat(mask))


class Step:
    """The losses of one batch; `generator` draws everything that is random in it."""

    def __init__(
        self, network: Network, batch: Batch, weights: LossConfig, generator: torch.Generator
    ) -> None:
        self.network, self.batch, self.weights, self.generator = network, batch, weights, generator
        senses = batch.parts
        tokens = {s: network.encode(s, part, generator) for s, part in senses.items()}
        self.fused: dict[tuple[str, ...], Fused] = {(s,): network.fuse(tokens[s]) for s in senses}
        self.rows: dict[tuple[str, ...], Tensor] = {(s,): senses[s].rows for s in senses}
        if "image" in senses:
            # A second view of each picture, for the contrast only: pictures generalize worst.
            view = network.encode("image", senses["image"], generator)
            self.fused[VIEW] = network.fuse(view)
            self.rows[VIEW] = senses["image"].rows
        device = batch.group.device
        choice = int(torch.randint(4, (), generator=generator, device=device))
        # Speech with a picture is what people have at hand: half of the steps.
        self.joint = JOINT[max(choice - 1, 0)]
        first, second, _ = self.joint
        if first in senses and second in senses:
            a, b = match(senses[first].rows, senses[second].rows, batch.size)
            a, b = a[: batch.size // 2], b[: batch.size // 2]
            self.fused[first, second] = network.fuse(tokens[first][a], tokens[second][b])
            self.rows[first, second] = senses[first].rows[a]

    def losses(self, share: float) -> dict[str, Tensor]:
        """Every loss whose weight is not zero, by name; `share` of the batch is generated."""
        losses = {}
        if self.weights.contrastive:
            losses["contrastive"] = self._contrastive()
        if self.weights.next_token and "text" in self.batch.parts:
            losses["next_token"] = self._next_token()
        for sense, weight in (
            ("image", self.weights.image_flow),
            ("audio", self.weights.audio_flow),
        ):
            if weight and sense in self.batch.parts:
                losses |= self._flow(sense, max(1, round(share * self.batch.size)))
        return losses

    def _common(self, source: tuple[str, ...], target: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Items of `source` and of `target` that belong to the same samples."""
        return match(self.rows[source], self.rows[target], self.batch.size)

    def _contrastive(self) -> Tensor:
        *joint, third = self.joint
        pairs = [*PAIRS, (tuple(joint), (third,))]
        losses = []
        for a, b in pairs:
            if a not in self.fused or b not in self.fused:
                continue
            i, j = self._common(a, b)
            if len(i) < 2:
                continue
            group = self.batch.group[self.rows[a][i]]
            losses.append(
                contrastive_loss(
                    self.fused[a].vector[i], self.fused[b].vector[j], group, self.network.scale
                )
            )
        return torch.stack(losses).mean() if losses else self.network.scale * 0

    def _next_token(self) -> Tensor:
        assert self.batch.language is not None
        ids = self.batch.parts["text"].data
        decoder, losses = self.network.text_decoder, []
        for source in (("image",), ("audio",), ("audio", "image")):
            if source not in self.fused:
                continue
            i, j = self._common(source, ("text",))
            memory = self.fused[source].tokens[i]
            inputs, targets = torch.cat([self.batch.language[j, None], ids[j, :-1]], 1), ids[j]
            hidden, _ = decoder.hidden(inputs, decoder.keys(memory), memory.mask)
            # Most positions are padding: only the others are worth a row of the vocabulary.
            present = targets != PAD
            losses.append(next_token_loss(decoder.head(hidden[present]), targets[present]))
        return torch.stack(losses).mean() if losses else self.network.scale * 0

    def _flow(self, sense: str, count: int) -> dict[str, Tensor]:
        sources = [s for s in self.fused if sense not in s and s != VIEW]
        memories, items = [], []
        for source in sources:
            i, j = self._common(source, (sense,))
            keep = -(-count // len(sources))
            memories.append(self.fused[source].tokens[i[:keep]])
            items.append(j[:keep])
        if not sources:
            return {}
        memory, part = stack(memories), take(self.batch.parts[sense], torch.cat(items))
        losses = {f"{sense}_flow": self._flow_loss(sense, memory, part)}
        if sense == "audio":
            frames = self.network.log_mel.num_frames(part.lengths).float().log()
            losses["length"] = F.smooth_l1_loss(self.network.num_frames(memory), frames)
        return losses

    def _flow_loss(self, sense: str, memory: Tokens, part: Part) -> Tensor:
        network, generator = self.network, self.generator
        clean, mask = network.patches(sense, part)
        device = clean.device
        noise = torch.randn(clean.shape, generator=generator, device=device)
        time = draw_times(len(clean), generator, device)
        drop = torch.rand(len(clean), generator=generator, device=device) < UNCONDITIONAL
        predicted = network.flow(sense)(
            noised(clean, noise, time),
            mask,
            time,
            network.positions(sense, clean.shape[1]),
            memory.x,
            memory.mask,
            drop,
        )
        return flow_loss(predicted, clean, time, mask)
