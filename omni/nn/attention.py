"""Multi-head attention, over a sequence or a memory; the one place that picks a kernel.

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


KeyValue = tuple[Tensor, Tensor]
"""keys and values, [B H S d] each"""


class _Heads(nn.Module):
    """What both kinds of attention share: heads, normed queries and keys, the way out."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads, got {width=}, {num_heads=}")
        self.head_width = width // num_heads
        self.out = nn.Linear(width, width, bias=False)
        # LayerNorm and not RMSNorm: torch fuses it on the CPU, where RMSNorm costs 15 % of a step.
        self.q_norm = nn.LayerNorm(width // num_heads, bias=False)
        self.k_norm = nn.LayerNorm(width // num_heads, bias=False)

    def split(self, x: Float[Tensor, "B T H*n*d"], number: int) -> tuple[Tensor, ...]:
        """The `number` projections [B T H d] that one linear map made.

        They lie head by head, so that some of the rows of the map are some of the heads.
        """
        parts = rearrange(x, "b t (h n d) -> b t h n d", n=number, d=self.head_width)
        return parts.unbind(3)

    def finish(
        self, q: Float[Tensor, "B T H d"], keys: KeyValue, mask: Bool[Tensor, "B #T S"] | None
    ) -> Float[Tensor, "B T D"]:
        """Attends with queries that are not normed yet."""
        q = self.q_norm(q).transpose(1, 2)
        y = attend(q, *keys, None if mask is None else mask[:, None])
        return self.out(rearrange(y, "b h t d -> b t (h d)"))


class SelfAttention(_Heads):
    """Attention over the sequence itself; normed queries and keys (arXiv:2302.05442), no biases.

    Raises `ValueError` when `width` is not a multiple of `num_heads`.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__(width, num_heads)
        self.qkv = nn.Linear(width, 3 * width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B #T S"] | None = None,
        past: KeyValue | None = None,
    ) -> tuple[Float[Tensor, "B T D"], KeyValue]:
        """The output, and the keys of everything seen so far: `past` of the next call."""
        q, k, v = self.split(self.qkv(x), 3)
        k, v = self.k_norm(k).transpose(1, 2), v.transpose(1, 2)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        return self.finish(q, (k, v), mask), (k, v)


class CrossAttention(_Heads):
    """Attention to a memory of another width, whose keys are computed once and used many times."""

    def __init__(self, width: int, num_heads: int, memory_width: int) -> None:
        super().__init__(width, num_heads)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(memory_width, 2 * width, bias=False)

    def keys(self, memory: Float[Tensor, "B S E"]) -> KeyValue:
        """Keys and values of a memory."""
        k, v = self.split(self.kv(memory), 2)
        return self.k_norm(k).transpose(1, 2), v.transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        keys: KeyValue,
        mask: Bool[Tensor, "B #T S"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """`mask` is True where a token of the memory may be seen."""
        (q,) = self.split(self.q(x), 1)
        return self.finish(q, keys, mask)
