"""Padded sequences, those of like length together."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

GROUPS, GROUPS_OF_HALF = 6, 2
"""of sequences of like length, on a CPU in fp32 and in bf16, where small products are dear"""


def by_length(
    encode: Callable[..., Tensor],
    x: Shaped[Tensor, "N L *D"],
    mask: Bool[Tensor, "N L"],
    *others: Shaped[Tensor, "N ..."],
) -> Float[Tensor, "N L E"]:
    """What `encode(x, mask, *others)` makes of padded sequences, of each as if it were alone.

    In a batch of captions in many languages five tokens in six are padding. There are as many
    groups whatever the batch is, so that all processes make the same calls: one without rows is
    the first token of one sequence, whose result counts nothing. A GPU, for which calls are dear,
    has all sequences at once.
    """
    if not mask.is_cpu:
        return encode(x, mask, *others)
    lengths = (mask * torch.arange(1, mask.shape[1] + 1)).amax(1)
    order, made = lengths.argsort(stable=True), []
    half = torch.is_autocast_enabled("cpu")
    for rows in order.tensor_split(GROUPS_OF_HALF if half else GROUPS):
        size = max(1, int(lengths[rows].amax())) if len(rows) else 1
        some = rows if len(rows) else order[:1]
        found = encode(x[some, :size], mask[some, :size], *(other[some] for other in others))
        made.append(F.pad(found[: len(rows)], (0, 0, 0, x.shape[1] - size)))
    return torch.cat(made)[order.argsort()]
