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

Kept = dict[str, tuple[Tensor, Tensor]]
"""for each sense, unit vectors [K E] of past items and their groups [K], the newest first"""
PAIRS = ((("image",), ("text",)), (("audio",), ("text",)), (("image",), ("audio",)))
JOINT = (("audio", "image", "text"), ("audio", "text", "image"), ("image", "text", "audio"))
"""two senses together, and the third"""
WITHIN = ((("image",), ("image",)), (("audio",), ("audio",)))
"""other pictures, and other recordings, of the same thing"""
LENGTH = 0.2
"""weight of the length of speech, in log frames, beside the speech"""
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
    """The losses of one batch; `generator` draws what is random and no item's own.

    `past`: what `remember` gave; `progress`: share of the run that is done.
    """

    def __init__(
        self,
        network: Network,
        batch: Batch,
        weights: LossConfig,
        generator: torch.Generator,
        past: Kept | None = None,
        progress: float = 0.0,
    ) -> None:
        self.network, self.batch, self.weights, self.generator = network, batch, weights, generator
        self.past = past or {}
        senses = batch.parts
        device = batch.group.device
        # Ever more batches of pictures as they are: that is what the model will meet.
        clean = torch.rand((), generator=generator, device=device) < progress
        assert batch.key is not None
        use = {s: batch.key[part.rows] for s, part in senses.items() if s != "image" or not clean}
        tokens = {s: network.encode(s, part, use.get(s)) for s, part in senses.items()}
        self.fused: dict[tuple[str, ...], Fused] = {(s,): network.fuse(tokens[s]) for s in senses}
        self.rows: dict[tuple[str, ...], Tensor] = {(s,): senses[s].rows for s in senses}
        choice = int(torch.randint(4, (), generator=generator, device=device))
        # Speech with a picture is what people have at hand: half of the steps.
        self.joint = JOINT[max(choice - 1, 0)]
        first, second, _ = self.joint
        if first in senses and second in senses:
            a, b = match(senses[first].rows, senses[second].rows, batch.size)
            a, b = a[: -(-len(a) // 4)], b[: -(-len(b) // 4)]  # a quarter: it costs the most
            self.fused[first, second] = network.fuse(tokens[first][a], tokens[second][b])
            self.rows[first, second] = senses[first].rows[a]

    def losses(self) -> dict[str, Tensor]:
        """Every loss whose weight is not zero, by name (see `LossConfig.total`)."""
        weights, losses = self.weights, {}
        *joint, third = self.joint
        contrasts = {"contrastive": PAIRS, "joint": [(tuple(joint), (third,))]}
        if self.past:
            contrasts["within"] = WITHIN
        for name, pairs in contrasts.items():
            for a, b in pairs:
                if getattr(weights, name) and a in self.fused and b in self.fused:
                    losses[f"{name}/{'+'.join(a)}-{b[0]}"] = self._contrast(a, b)
        if weights.next_token and "text" in self.batch.parts:
            losses |= self._next_token()
        if weights.image_flow and "image" in self.batch.parts:
            losses |= self._flow("image", weights.draw_share)
        if weights.audio_flow and "audio" in self.batch.parts:
            losses |= self._flow("audio", weights.speak_share)
        return losses

    def _common(self, source: tuple[str, ...], target: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Items of `source` and of `target` that belong to the same samples."""
        return match(self.rows[source], self.rows[target], self.batch.size)

    def _contrast(self, a: tuple[str, ...], b: tuple[str, ...]) -> Tensor:
        """Each item of one set of senses against all of the other, both ways if they are two."""
        return self._find(a, b) if a == b else (self._find(a, b) + self._find(b, a)) / 2

    def _find(self, a: tuple[str, ...], b: tuple[str, ...]) -> Tensor:
        group, keys = self.batch.group, self.fused[b].vector
        groups = group[self.rows[b]]
        if b[0] in self.past and len(b) == 1:
            vectors, theirs = self.past[b[0]]
            keys, groups = torch.cat([keys, vectors]), torch.cat([groups, theirs])
        asked, scale = self.fused[a].vector, self.network.scale
        return contrastive_loss(asked, keys, group[self.rows[a]], groups, scale, own=a == b)

    def remember(self, size: int) -> Kept:
        """The vectors of this batch, then those of the past: at most `size` of each sense.

        More candidates for the contrast at no cost (cross-batch memory, arXiv:1912.06798).
        """
        kept = dict(self.past)
        for sense in self.batch.parts:
            new = self.fused[(sense,)].vector.detach(), self.batch.group[self.rows[(sense,)]]
            old = self.past.get(sense, (new[0][:0], new[1][:0]))
            kept[sense] = torch.cat([new[0], old[0]])[:size], torch.cat([new[1], old[1]])[:size]
        return kept if size else {}

    def _next_token(self) -> dict[str, Tensor]:
        assert self.batch.language is not None
        ids = self.batch.parts["text"].data
        decoder, losses = self.network.text_decoder, {}
        for source in (("image",), ("audio",), ("audio", "image")):
            if source not in self.fused:
                continue
            i, j = self._common(source, ("text",))
            memory = self.fused[source].tokens[i]
            inputs, targets = torch.cat([self.batch.language[j, None], ids[j, :-1]], 1), ids[j]
            hidden, _ = decoder.hidden(inputs, decoder.keys(memory), memory.mask)
            # Most positions are padding: only the others are worth a row of the vocabulary.
            present = targets != PAD
            loss = next_token_loss(decoder.head(hidden[present]), targets[present])
            losses[f"next_token/{'+'.join(source)}"] = loss
        return losses

    def _flow(self, sense: str, share: float) -> dict[str, Tensor]:
        """The decoder of `sense` on a share of its items: most from texts, some from the rest."""
        text = self.weights.from_text
        others = [s for s in self.fused if sense not in s and s != ("text",)]
        parts = {source: (1 - text) / len(others) for source in others}
        if ("text",) in self.fused:
            parts[("text",)] = text
        if not sum(parts.values()):
            return {}
        count = share * len(self.rows[(sense,)]) / sum(parts.values())
        memories, items, start = [], [], 0
        for source, part in parts.items():
            # Other items from each source: none is drawn twice while some are not drawn at all.
            rows = self._common(source, (sense,))
            i, j = (row.roll(-start)[: round(count * part)] for row in rows)
            memories.append(self.fused[source].tokens[i])
            items.append(j)
            start += len(i)
        memory, part = stack(memories), take(self.batch.parts[sense], torch.cat(items))
        losses = {f"{sense}_flow": self._flow_loss(sense, memory, part)}
        if sense == "audio":
            frames = self.network.log_mel.num_frames(part.lengths).float().log()
            length = F.smooth_l1_loss(self.network.num_frames(memory), frames)
            losses["audio_flow/length"] = LENGTH * length
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
            memory.x,
            memory.mask,
            drop,
        )
        return flow_loss(predicted, clean, time, mask)
