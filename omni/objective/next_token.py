"""The cross-entropy of the next token."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def next_token_loss(logits: Float[Tensor, "L V"], targets: Int[Tensor, "L"]) -> Float[Tensor, ""]:
    """Mean over the targets that are not 0, the padding; natural logarithm."""
    return F.cross_entropy(logits.float(), targets, ignore_index=0)
