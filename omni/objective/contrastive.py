"""The contrastive loss of one sense and another, with all items of a group as positives."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def contrastive_loss(
    queries: Float[Tensor, "N E"],
    keys: Float[Tensor, "K E"],
    group_queries: Int[Tensor, "N"],
    group_keys: Int[Tensor, "K"],
    scale: Float[Tensor, "..."],
    own: int | None = None,
    total: int | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of finding each query's group by the cosines of unit vectors.

    One direction of CLIP's loss (arXiv:2103.00020). All keys of the query's group share the target
    probability (supervised contrast, arXiv:2004.11362, eq. 2), all others are negatives; queries
    without such a key ask nothing. `own`: the queries are the keys from this one on, and none
    finds itself. `scale` is the inverse temperature. Natural logarithm, sum over the queries that
    ask, divided by `total`, or else by their number; or 0. Always in fp32: in bf16 logits of 16 and
    more would lie on a grid of 1/8.
    """
    logits = scale * queries.float() @ keys.float().T
    positive = group_queries[:, None] == group_keys
    if own is not None:
        itself = torch.eye(*logits.shape, device=logits.device, dtype=torch.bool).roll(own, 1)
        logits, positive = logits - itself * 1e4, positive & ~itself
    count = positive.sum(1)
    loss = -(positive * logits.log_softmax(1)).sum(1) / count.clamp(min=1)
    return loss.sum() / ((count > 0).sum().clamp(min=1) if total is None else max(total, 1))


def asking(
    group_queries: Int[Tensor, "N"], group_keys: Int[Tensor, "K"], own: bool = False
) -> Bool[Tensor, "N"]:
    """Which queries have a key of their group to find, other than themselves."""
    found, count = group_keys.unique(return_counts=True)
    return torch.isin(group_queries, found[count > own])
