"""The contrastive loss between two senses, with every item of the same group as a positive."""

from jaxtyping import Float, Int
from torch import Tensor


def contrastive_loss(
    a: Float[Tensor, "N E"],
    b: Float[Tensor, "K E"],
    group_a: Int[Tensor, "N"],
    group_b: Int[Tensor, "K"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Symmetric cross-entropy over the similarities of unit vectors (CLIP, arXiv:2103.00020).

    Every item of `a` is compared with every item of `b`; those of its group share the target
    probability (supervised contrast, arXiv:2004.11362, eq. 2), all others are negatives. Items
    without a partner ask nothing, but are negatives of the rest. `scale` is the inverse
    temperature. Natural logarithm, mean over both directions; 0 where nothing has a partner.
    """
    logits = scale * a.float() @ b.float().T
    positive = (group_a[:, None] == group_b[None]).float()
    return (_cross_entropy(logits, positive) + _cross_entropy(logits.T, positive.T)) / 2


def _cross_entropy(
    logits: Float[Tensor, "N K"], positive: Float[Tensor, "N K"]
) -> Float[Tensor, ""]:
    count = positive.sum(1)
    loss = -(positive * logits.log_softmax(1)).sum(1) / count.clamp(min=1)
    return loss.sum() / (count > 0).sum().clamp(min=1)
