"""Multi-head attention, over the sequence itself or over a memory; the one place that picks a kernel.

Letters: B batch, T queries, S keys, H heads, D width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

SHORT = 256
"""On a CPU, at most so many keys are attended to by plain products (see `attend`)."""


def attend(
    q: Float[Tensor, "B H T d"],
    k: Float[Tensor, "B H S d"],
    v: Float[Tensor, "B H S d"],
    mask: Bool[Tensor, "B #H #T S"] | None,
) -> Float[Tensor, "B H T d"]:
    """Softmax attention; `mask` is True where a key may be seen.

    The backward pass of the CPU flash kernel is slow on short sequences, where plain products in
    bf16 are about twice as fast for the whole step; everywhere else torch chooses.
    """
    if q.device.type != "cpu" or k.shape[2] > SHORT:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ v


class Attention(nn.Module):
    """Pre-normed queries and keys (arXiv:2302.05442), no biases.

    Raises `ValueError` when `width` is not a multiple of `num_heads`.
    """

    def __init__(self, width: int, num_heads: int, memory_width: int | None = None) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(
                f"width must be a multiple of num_heads, got {width=}, {num_heads=}"
            )
        self.num_heads = num_heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(memory_width or width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        # LayerNorm and not RMSNorm: torch fuses it on the CPU, where RMSNorm costs 15 % of a step.
        self.q_norm = nn.LayerNorm(width // num_heads, bias=False)
        self.k_norm = nn.LayerNorm(width // num_heads, bias=False)

    def keys(self, memory: Float[Tensor, "B S D"]) -> tuple[Tensor, Tensor]:
        """Keys and values [B H S d] of a memory: computed once, used for every new token."""
        k, v = rearrange(self.kv(memory), "b s (two h d) -> two b s h d", two=2, h=self.num_heads)
        return self.k_norm(k).transpose(1, 2), v.transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        keys: tuple[Tensor, Tensor] | None = None,
        mask: Bool[Tensor, "B #T S"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """`keys`: what to attend to, by default `x` itself; `mask`: True where it may be seen."""
        k, v = self.keys(x) if keys is None else keys
        q = rearrange(self.q(x), "b t (h d) -> b t h d", h=self.num_heads)
        q = self.q_norm(q).transpose(1, 2)
        y = attend(q, k, v, None if mask is None else mask[:, None])
        return self.out(rearrange(y, "b h t d -> b t (h d)"))
