"""Encoders -> one shared transformer -> decoders.

Letters: N items of one sense or of one set of senses, T tokens, D width, E retrieval vector.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from omni.batch import SENSES, Part, Tokens
from omni.config import ModelConfig
from omni.modality import audio, image
from omni.modality.text import TextDecoder, TextEncoder
from omni.nn.flow import FlowDecoder
from omni.nn.position import grid, sequence
from omni.nn.transformer import Projection, Transformer, init_weights


@dataclass(frozen=True)
class Fused:
    """What the shared transformer makes of one set of senses."""

    tokens: Tokens
    """what decoders look at"""
    vector: Float[Tensor, "N E"]
    """unit vectors of the one retrieval space"""


class Network(nn.Module):
    """One model for image, text and audio; see `encode`, `fuse` and the three decoders."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        width, heads = config.width, config.num_heads
        self.log_mel = audio.LogMel(config.audio)
        self.encoders = nn.ModuleDict(
            {
                "image": image.ImageEncoder(config.image, width),
                "audio": audio.AudioEncoder(config.audio, width, heads),
                "text": TextEncoder(config.text, vocab_size, width, heads),
            }
        )
        self.projections = nn.ModuleDict(
            {s: nn.Sequential(nn.LayerNorm(width), Projection(width, width)) for s in SENSES}
        )
        self.sense = nn.Embedding(len(SENSES), width)
        self.shared = Transformer(width, config.depth, heads)
        self.head = Projection(width, config.embed_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor([1 / 0.07]).log())

        self.text_decoder = TextDecoder(config.text, vocab_size, width, heads)
        self.length = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        drawn, spoken = config.image, config.audio
        side, frames = drawn.size // drawn.patch, -(-spoken.max_frames // spoken.patch)
        cells, times = grid(side, side, config.flow_width), sequence(frames, config.flow_width)
        self.flows = nn.ModuleDict(
            {
                "image": FlowDecoder(config, 3 * drawn.patch**2, cells),
                "audio": FlowDecoder(config, spoken.num_mels * spoken.patch, times),
            }
        )
        self.apply(init_weights)
        for part in (self.encoders["text"], *self.flows.values()):
            assert isinstance(part, TextEncoder | FlowDecoder)
            part.start()

    def flow(self, sense: str) -> FlowDecoder:
        """The decoder that draws (image) or speaks (audio)."""
        flow = self.flows[sense]
        assert isinstance(flow, FlowDecoder)
        return flow

    @property
    def scale(self) -> Float[Tensor, "1"]:
        """Inverse temperature of the contrastive loss, at most 100."""
        return self.log_scale.exp().clamp(max=100)

    def blank(self, sense: str, device: torch.device) -> Part:
        """One item of no sample, black, silent or a lone token."""
        side = self.config.image.size
        shape, kind = {
            "image": ((3, side, side), torch.uint8),
            "audio": ((self.log_mel.window,), torch.int16),
            "text": ((4,), torch.long),
        }[sense]
        one = torch.ones(1, dtype=torch.long, device=device)
        return Part(torch.ones(1, *shape, dtype=kind, device=device), -one, one)

    def encode(self, sense: str, part: Part, keys: Int[Tensor, "N"] | None = None) -> Tokens:
        """Tokens of one sense, ready for `fuse`; with keys, of inputs augmented as they say."""
        if sense == "text":
            return self._place("text", self.encoders["text"](part.data))
        if sense == "audio":
            lengths = self.log_mel.num_frames(part.lengths)
            if keys is None:
                signal = self.log_mel(part.data)
            else:
                signal = self.log_mel(audio.add_noise(part.data, part.lengths, keys))
                room = audio.padded(part.lengths, self.config.audio.sample_rate)
                room = self.log_mel.num_frames(room)
                signal, lengths = audio.augment(signal, lengths, room, keys)
        else:
            signal, lengths = image.normalize(part.data), part.lengths
            if keys is not None:
                signal = image.augment(signal, keys)
        return self.encode_signal(sense, signal, lengths)

    def encode_signal(self, sense: str, signal: Tensor, lengths: Int[Tensor, "N"]) -> Tokens:
        """Tokens of normalised pictures [N 3 S S], or of log-mel frames [N M F] so many long."""
        encoder = self.encoders[sense]
        return self._place(sense, encoder(signal, lengths) if sense == "audio" else encoder(signal))

    def _place(self, sense: str, tokens: Tokens) -> Tokens:
        position = sequence(tokens.x.shape[1], self.config.width, tokens.x.device)
        kind = self.sense.weight[SENSES.index(sense)]
        # Faint positions: the mean over the tokens, which is the vector, is of what they say.
        return Tokens(self.projections[sense](tokens.x) + kind + 0.1 * position, tokens.mask)

    def fuse(self, *senses: Tokens) -> Fused:
        """One pass of the shared transformer over one sense or several of the same items.

        A sense that an item lacks is masked: absent tokens, never zeros. The vector is the mean
        over each sense's tokens, averaged over the senses present, so that a long recording does
        not outweigh a short text.
        """
        mask = torch.cat([tokens.mask for tokens in senses], 1)
        x = self.shared(torch.cat([tokens.x for tokens in senses], 1), mask)
        means, weights = [], []
        start = 0
        for tokens in senses:
            part = x[:, start : start + tokens.x.shape[1]].float()
            weight = tokens.mask[..., None].float()
            means.append((part * weight).sum(1) / weight.sum(1).clamp(min=1))
            weights.append(tokens.mask.any(1, keepdim=True).float())
            start += tokens.x.shape[1]
        pooled = sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)
        vector = F.normalize(self.head(pooled).float(), dim=-1)
        return Fused(Tokens(x, mask), vector)

    def num_frames(self, memory: Tokens) -> Float[Tensor, "N"]:
        """Predicted logarithm of the number of log-mel frames, from the mean token."""
        weight = memory.mask[..., None].to(memory.x.dtype)
        return self.length((memory.x * weight).sum(1) / weight.sum(1)).float()[:, 0]

    def num_patches(self, sense: str, lengths: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Patches that items of so many audio samples have for their flow decoder."""
        limit = len(self.flow(sense).positions)
        if sense == "image":
            return torch.full_like(lengths, limit)
        patch = self.config.audio.patch
        return ((self.log_mel.num_frames(lengths) + patch - 1) // patch).clamp(max=limit)

    def patches(self, sense: str, part: Part) -> tuple[Float[Tensor, "N T P"], Tensor]:
        """The signal as its flow decoder sees it, and the mask of the patches that are present."""
        if sense == "image":
            x = image.patchify(image.normalize(part.data), self.config.image.patch)
            return x, x.new_ones(x.shape[:2], dtype=torch.bool)
        patch = self.config.audio.patch
        frames = self.log_mel(part.data)
        frames = F.pad(frames, (0, -frames.shape[2] % patch), value=audio.SILENCE)
        x = audio.patchify(frames, patch)[:, : len(self.flow("audio").positions)]
        return x, audio.frame_mask(self.num_patches("audio", part.lengths), x.shape[1])

    def signal(self, sense: str, patches: Float[Tensor, "N T P"]) -> Tensor:
        """The inverse of `patches`: normalised pictures [N 3 S S] or log-mel frames [N M F]."""
        if sense == "image":
            return image.unpatchify(patches, self.config.image.patch)
        return audio.unpatchify(patches, self.config.audio.patch)


def take(part: Part, index: Int[Tensor, "K"]) -> Part:
    """Some items of a part."""
    return Part(part.data[index], part.rows[index], part.lengths[index])
