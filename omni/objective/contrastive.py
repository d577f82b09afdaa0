"""The contrastive loss between two senses, with every sample of a group as a positive."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def contrastive_loss(
    a: Float[Tensor, "N E"],
    b: Float[Tensor, "N E"],
    group: Int[Tensor, "N"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Symmetric cross-entropy over the similarities of unit vectors (CLIP, arXiv:2103.00020).

    Row i of `a` and row i of `b` belong to one sample. Other rows of the same group are no
    negatives: they share the target probability (supervised contrast, arXiv:2004.11362, eq. 2).
    `scale` is the inverse temperature. Natural logarithm, mean over both directions.
    """
    logits = scale * a.float() @ b.float().T
    target = (group[:, None] == group[None]).float()
    target = target / target.sum(1, keepdim=True)
    forward = -(target * logits.log_softmax(1)).sum(1)
    backward = -(target * logits.T.log_softmax(1)).sum(1)
    return torch.stack([forward, backward]).mean()
