"""The contrastive loss of one sense and another, with all items of a group as positives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def contrastive_loss(
    queries: Float[Tensor, "N E"],
    keys: Float[Tensor, "K E"],
    group_queries: Int[Tensor, "N"],
    group_keys: Int[Tensor, "K"],
    scale: Float[Tensor, ""],
    own: bool = False,
) -> Float[Tensor, ""]:
    """Cross-entropy of finding each query's group by the cosines of unit vectors.

    One direction of CLIP's loss (arXiv:2103.00020). All keys of the query's group share the target
    probability (supervised contrast, arXiv:2004.11362, eq. 2), all others are negatives; queries
    without such a key ask nothing. `own`: the first N keys are the queries, and none finds itself.
    `scale` is the inverse temperature. Natural logarithm, mean over the queries that ask; or 0.
    """
    logits = scale * queries.float() @ keys.float().T
    positive = (group_queries[:, None] == group_keys).float()
    if own:
        logits = logits - torch.eye(*logits.shape, device=logits.device) * 1e4
        positive.fill_diagonal_(0)
    count = positive.sum(1)
    loss = -(positive * logits.log_softmax(1)).sum(1) / count.clamp(min=1)
    return loss.sum() / (count > 0).sum().clamp(min=1)
