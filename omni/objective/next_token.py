"""The cross-entropy of the next token."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def next_token_loss(
    logits: Float[Tensor, "L V"], targets: Int[Tensor, "L"], total: int | None = None
) -> Float[Tensor, ""]:
    """Sum over the targets that are not 0, the padding, over `total` or else their number.

    Natural logarithm.
    """
    loss = F.cross_entropy(logits.float(), targets, ignore_index=0, reduction="sum")
    return loss / ((targets != 0).sum().clamp(min=1) if total is None else max(total, 1))
