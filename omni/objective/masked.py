"""Hidden tokens, guessed from what is left of all senses: OPT's token level (arXiv:2107.00249).

Letters: N items, T tokens, L text tokens, K hidden tokens, P values of a patch.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omni.modality.text import END
from omni.nn.draws import Draws, Purpose

HIDDEN = 0.15
"""share of the tokens"""
BLANKED, OTHER = 0.8, 0.1
"""of hidden words, those of which nothing is left, and those that become another; the rest stay as
they are (BERT, arXiv:1810.04805, section 3.1)"""


def draw_hidden(keys: Int[Tensor, "N"], modality: int, size: int) -> Bool[Tensor, "N T"]:
    """Which of `size` tokens are hidden, each by itself, fixed by the key of the item."""
    return Draws(keys, Purpose.MASKED_TOKENS, modality).uniform(0, 1, size) < HIDDEN


def corrupt(
    ids: Int[Tensor, "N L"],
    hidden: Bool[Tensor, "N L"],
    keys: Int[Tensor, "N"],
    vocab_size: int,
) -> tuple[Int[Tensor, "N L"], Bool[Tensor, "N L"]]:
    """The texts with other words in some hidden places, and the places that are to be blank."""
    draws = Draws(keys, Purpose.MASKED_WORDS)
    fate = draws.uniform(0, 1, ids.shape[1])
    words = draws.uniform(END + 1, vocab_size, ids.shape[1]).long()
    other = hidden & (fate >= BLANKED) & (fate < BLANKED + OTHER)
    return torch.where(other, words, ids), hidden & (fate < BLANKED)


def words_loss(
    logits: Float[Tensor, "K V"], ids: Int[Tensor, "N L"], hidden: Bool[Tensor, "N L"], total: int
) -> Float[Tensor, ""]:
    """Cross-entropy of hidden words: mean over those of a text, sum over texts, by `total`."""
    return _mean(F.cross_entropy(logits.float(), ids[hidden], reduction="none"), hidden, total)


def patches_loss(
    predicted: Float[Tensor, "K P"],
    patches: Float[Tensor, "N T P"],
    hidden: Bool[Tensor, "N T"],
    total: int,
) -> Float[Tensor, ""]:
    """Squared error of hidden patches: mean over those of an item, sum over items, by `total`."""
    error = (predicted.float() - patches[hidden].float()).square().mean(1)
    return _mean(error, hidden, total)


def _mean(losses: Float[Tensor, "K"], hidden: Bool[Tensor, "N T"], total: int) -> Float[Tensor, ""]:
    """Of an item's hidden tokens first, so that it does not depend on who its neighbours are."""
    share = 1 / hidden.sum(1, keepdim=True).clamp(min=1)
    return (losses * share.expand_as(hidden)[hidden]).sum() / max(total, 1)
