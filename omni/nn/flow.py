"""One decoder for pictures and for speech: flow matching straight on patches of the signal.

Letters: B batch, T patches, P values of a patch, M memory tokens, D width.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from omni.config import ModelConfig
from omni.nn.attention import CrossAttention, SelfAttention
from omni.nn.mlp import MLP
from omni.nn.position import sinusoid
from omni.nn.transformer import residual


class FlowBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward; scaled, shifted and gated by a condition.

    adaLN-single of PixArt-alpha (arXiv:2310.00426): one projection of the condition for all
    blocks, and a learned offset in each.
    """

    def __init__(self, width: int, num_heads: int, memory_width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, num_heads)
        self.cross = CrossAttention(width, num_heads, memory_width)
        self.mlp = MLP(width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.offset = nn.Parameter(torch.zeros(6, width))

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B T"],
        condition: Float[Tensor, "B 6 D"],
        memory: Float[Tensor, "B M E"],
        memory_mask: Bool[Tensor, "B M"],
    ) -> Float[Tensor, "B T D"]:
        """One step of the stack."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            (condition + self.offset).to(x.dtype)[:, :, None].unbind(1)
        )
        y = self.norm(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(y, mask[:, None])[0]
        x = x + self.cross(self.norm(x), self.cross.keys(memory), memory_mask[:, None])
        y = self.norm(x) * (1 + scale2) + shift2
        return x + gate2 * self.mlp(y)


class FlowDecoder(nn.Module):
    """Predicts the clean patches from noisy ones, the time and the tokens of any source senses.

    Predicting the signal and not the noise lets a narrow transformer work on raw patches
    ("Back to Basics: Let Denoising Generative Models Denoise", arXiv:2511.13720). The memory is
    replaced by one learned token where `drop` is True: what classifier-free guidance steers from.

    What a thousand names look and sound like has to be remembered rather than worked out. So a
    wide layer turns the mean of the memory into a first draft of every patch at once, which fades
    as the signal comes through, and the transformer adds the rest (docs/log.md has what it gives).
    The draft costs `config.flow_draft` x T x P weights: 0 leaves it out.
    """

    positions: Tensor
    """of the patches [T D], as many as there can be"""

    def __init__(self, config: ModelConfig, patch_dim: int, positions: Tensor) -> None:
        super().__init__()
        self.width = width = config.flow_width
        max_patches, memory_width = len(positions), config.width
        num_heads = width * config.num_heads // memory_width  # of the same size as everywhere
        self.register_buffer("positions", positions, persistent=False)
        self.patch_in = nn.Linear(patch_dim, width)
        self.time_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled_in = nn.Linear(memory_width, width)
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.nothing = nn.Parameter(torch.randn(memory_width) * 0.02)
        blocks = [FlowBlock(width, num_heads, memory_width) for _ in range(config.flow_depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.patch_out = nn.Linear(width, patch_dim)
        self.draft = (
            nn.Sequential(
                nn.LayerNorm(memory_width),
                nn.Linear(memory_width, config.flow_draft),
                nn.GELU(),
                nn.Linear(config.flow_draft, max_patches * patch_dim),
            )
            if config.flow_draft
            else None
        )

    def start(self) -> None:
        """Zero output at the start, and gates half open: call after the general initialisation."""
        nn.init.zeros_(self.patch_out.weight)
        if self.draft is not None:
            _, wide, _, last = self.draft
            assert isinstance(wide, nn.Linear) and isinstance(last, nn.Linear)
            nn.init.normal_(wide.weight, std=wide.in_features**-0.5)
            nn.init.zeros_(last.weight)
        for block in self.blocks:
            assert isinstance(block, FlowBlock)
            nn.init.constant_(block.offset[2], 0.5)
            nn.init.constant_(block.offset[5], 0.5)

    def forward(
        self,
        noisy: Float[Tensor, "B T P"],
        mask: Bool[Tensor, "B T"],
        time: Float[Tensor, "B"],
        memory: Float[Tensor, "B M E"],
        memory_mask: Bool[Tensor, "B M"],
        drop: Bool[Tensor, "B"],
    ) -> Float[Tensor, "B T P"]:
        """The clean patches; `time` runs from 0 (noise) to 1 (signal)."""
        memory = torch.where(drop[:, None, None], self.nothing.to(memory.dtype), memory)
        weight = memory_mask[..., None].to(memory.dtype)
        pooled = (memory * weight).sum(1) / weight.sum(1).clamp(min=1)
        condition = self.time_in(sinusoid(time * 1000, self.width)) + self.pooled_in(pooled)
        condition = self.modulate(condition).unflatten(-1, (6, self.width))
        x = residual(self.patch_in(noisy) + self.positions[: noisy.shape[1]])
        for block in self.blocks:
            x = block(x, mask, condition, memory, memory_mask)
        clean = self.patch_out(self.norm(x)).float()
        if self.draft is not None:
            draft = self.draft(pooled).unflatten(-1, (len(self.positions), -1))
            clean = clean + (1 - time)[:, None, None] * draft[:, : noisy.shape[1]].float()
        return clean
