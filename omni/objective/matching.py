"""Which senses of a sequence belong to one sample: OPT's sample-level task (arXiv:2107.00249).

A sequence holds two or three senses, of which some may be another sample's. Half of those are
taken from where they are hard to tell apart, as in ALBEF (arXiv:2107.07651, section 3.2); of hard
ones alone a head would learn to demand more likeness than new pictures have.

Letters: N sequences, M items of one sense, E retrieval vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omni.batch import SENSES
from omni.nn.draws import Draws, Purpose

CLASSES = (("image", "audio", "text"), ("image", "audio"), ("audio", "text"), ("image", "text"), ())
"""the senses that belong together; whatever else is there is foreign"""
NONE = len(CLASSES) - 1
HARD = 0.5
"""share of the sequences whose foreign items are near to what stays"""
BLUR = 0.75
"""length of the longest noise that is added to a unit vector: the cosine to what it was is .8"""
KEPT = torch.tensor([[sense in senses for sense in SENSES] for senses in CLASSES])
LABELS = torch.full((2,) * len(SENSES), NONE)
for number, senses in enumerate(CLASSES):
    LABELS[tuple(int(sense in senses) for sense in SENSES)] = number


@dataclass(frozen=True)
class Mixture:
    """Sequences made of items of several samples; columns are in the order of `SENSES`."""

    index: Int[Tensor, "N 3"]
    """which item of each sense"""
    present: Bool[Tensor, "N 3"]
    label: Int[Tensor, "N"]
    """of `CLASSES`"""


def mix(
    vectors: Mapping[str, Float[Tensor, "M E"]],
    groups: Mapping[str, Int[Tensor, "M"]],
    own: Int[Tensor, "N 3"],
    group: Int[Tensor, "N"],
    keys: Int[Tensor, "N"],
    scale: Float[Tensor, "1"],
) -> Mixture:
    """Sequences of all classes alike, drawn by the keys of their samples.

    Of samples with three senses one is left out in half of the cases, so that pairs are judged as
    well. A foreign item is drawn from those of other groups: in half of the sequences evenly, in
    the others the likelier the nearer its vector is to that of a sense which stays, softmax of
    the cosines times `scale`.

    Args:
        vectors, groups: unit vectors of the items of each sense that there is, and their groups.
        own: the items of each sample, -1 for what it lacks; at least two are there.
        group, keys: of the samples.
    """
    draws = Draws(keys, Purpose.MATCHING_MIXTURE)
    kind = draws.uniform(0, len(CLASSES)).long()
    left_out = draws.uniform(0, 2 * len(SENSES)).long()
    place = draws.uniform(0, 1, len(SENSES))
    hard = (draws.uniform(0, 1) < HARD)[:, None]

    present = own >= 0
    everything = present.all(1, keepdim=True)
    present = present & ~(
        everything & F.one_hot(left_out, 2 * len(SENSES))[:, : len(SENSES)].bool()
    )
    kept = present & KEPT.to(own.device)[kind]
    first = F.one_hot(present.int().argmax(1), len(SENSES)).bool()
    kept = torch.where((kind == NONE)[:, None], first, kept)
    stays = kept.int().argmax(1)

    index, used = own.clamp(min=0), group
    near = torch.zeros(len(own), next(iter(vectors.values())).shape[1], device=own.device)
    for number, sense in enumerate(SENSES):
        if sense in vectors:
            mine = vectors[sense].float()[index[:, number]]
            near = torch.where((stays == number)[:, None], mine, near)
    belongs = present.clone()
    for number, sense in enumerate(SENSES):
        if sense not in vectors:
            continue
        theirs = groups[sense]
        allowed = (theirs != group[:, None]) & (theirs != used[:, None])
        cosines = near @ vectors[sense].float().T
        share = (scale * hard * cosines - 1e4 * ~allowed).softmax(1).cumsum(1)
        at = place[:, number, None] * share[:, -1:]
        found = torch.searchsorted(share, at, right=True).clamp(max=len(theirs) - 1)
        # Where all are of its own group none is to be had.
        foreign = present[:, number] & ~kept[:, number] & allowed.gather(1, found)[:, 0]
        found = found[:, 0]
        index[:, number] = torch.where(foreign, found, index[:, number])
        used = torch.where(foreign, theirs[found], used)
        belongs[:, number] &= ~foreign
    return Mixture(index, present, LABELS.to(own.device)[tuple(belongs.long().unbind(1))])


def blur(
    vectors: Float[Tensor, "N E"], keys: Int[Tensor, "N"], modality: int
) -> Float[Tensor, "N E"]:
    """Unit vectors moved by noise of a length between nothing and `BLUR`.

    In training what belongs together is far nearer (cosines of .95) than it will ever be again (.7
    to .9): a head that sees it so learns to demand too much.
    """
    draws = Draws(keys, Purpose.MATCHING_BLUR, modality)
    length = draws.uniform(0, BLUR, 1) / vectors.shape[1] ** 0.5
    return F.normalize(vectors + length * draws.noise(vectors.shape[1]), dim=-1)


def matching_loss(
    logits: Float[Tensor, "N 5"], label: Int[Tensor, "N"], total: int
) -> Float[Tensor, ""]:
    """Cross-entropy of `CLASSES`, natural logarithm: the sum over the sequences, by `total`.

    OPT's paper has a sigmoid for each class, its code this.
    """
    return F.cross_entropy(logits.float(), label, reduction="sum") / max(total, 1)
