"""Pre-norm transformer blocks: over one sequence, and with cross-attention to a memory."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from omni.nn.attention import CrossAttention, KeyValue, SelfAttention
from omni.nn.mlp import MLP


def residual(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The start of a residual stream: under autocast in its type, which spares a cast a layer."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class Block(nn.Module):
    """Self-attention, cross-attention if there is a memory, feed-forward; each pre-normed."""

    def __init__(self, width: int, num_heads: int, memory_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention = SelfAttention(width, num_heads)
        self.cross_norm = nn.LayerNorm(width, bias=False) if memory_width else None
        self.cross = CrossAttention(width, num_heads, memory_width) if memory_width else None
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.mlp = MLP(width)

    def keys(self, memory: Float[Tensor, "B M E"]) -> KeyValue:
        """What `forward` attends to of a memory: computed once, used many times."""
        assert self.cross is not None
        return self.cross.keys(memory)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B #T S"] | None = None,
        memory: KeyValue | None = None,
        memory_mask: Bool[Tensor, "B #T M"] | None = None,
        past: KeyValue | None = None,
    ) -> tuple[Float[Tensor, "B T D"], KeyValue]:
        """The new residual, and the keys and values of everything seen so far.

        `memory`: what `keys` made of it; `past`: what an earlier call returned.
        """
        y, keys = self.attention(self.attention_norm(x), mask, past)
        x = x + y
        if self.cross is not None and self.cross_norm is not None:
            assert memory is not None
            x = x + self.cross(self.cross_norm(x), memory, memory_mask)
        return x + self.mlp(self.mlp_norm(x)), keys


class Transformer(nn.Module):
    """A stack of blocks and a final norm, over sequences of one width."""

    def __init__(self, width: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T D"]:
        """`mask` is True where a token is present; absent ones are seen by nobody."""
        x = residual(x)
        for block in self.blocks:
            x, _ = block(x, mask[:, None])
        return self.norm(x)


class Projection(nn.Linear):
    """A linear map from one part to the next, orthogonal at the start: all that differs is kept."""


class Gist(Projection):
    """The mean of what a pretrained encoder made, on a straight way to the retrieval vector.

    What is near for it stays near, also of things that training never met: a linear map forgets
    less of it over a few hundred pairs than a transformer. CLIP-Adapter (arXiv:2110.04544, section
    3.2) adds up the two; here they lie apart, so that what has no such encoder need not guess what
    it would have said (docs/log.md).
    """

    def forward(self, mean: Float[Tensor, "N C"]) -> Float[Tensor, "N K"]:
        """A part of the vector, before that is normalised."""
        return super().forward(F.layer_norm(mean, mean.shape[1:])).float()


def init_weights(module: nn.Module) -> None:
    """Normal: 0.02 for linear maps (GPT-2), 0.3 for embeddings, biases zero. For `Module.apply`.

    Embeddings are added to sinusoids of size 0.7: much smaller ones would not be seen at first.
    """
    if isinstance(module, nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.3)
    if isinstance(module, Projection):
        nn.init.orthogonal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
