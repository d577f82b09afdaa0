"""Sequences made of several samples: their classes, their labels, and how hard they are."""

import pytest
import torch
from torch import Tensor

from omni.batch import SENSES
from omni.objective.matching import BLUR, CLASSES, NONE, Mixture, blur, matching_loss, mix

N, ITEMS = 20_000, 400
SCALE = torch.tensor([20.0])


def world(groups: int = 100) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Unit vectors of the items of each sense, near those of their group, and the groups."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(groups, 16, generator=generator)
    of = {s: torch.randint(groups, (ITEMS,), generator=generator) for s in SENSES}
    vectors = {s: centres[g] + torch.randn(ITEMS, 16, generator=generator) for s, g in of.items()}
    return {s: torch.nn.functional.normalize(v, dim=1) for s, v in vectors.items()}, of


def samples(of: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Complete samples, each of items of one group; the group and the key of each."""
    first = torch.arange(N) % ITEMS
    group = of["image"][first]
    own = torch.stack([first, *(_one_of(of[s], group) for s in SENSES[1:])], 1)
    return own, group, torch.arange(N) * 7_919


def _one_of(theirs: Tensor, group: Tensor) -> Tensor:
    return (theirs == group[:, None]).int().argmax(1)


def belongs(mixture: Mixture, of: dict[str, Tensor], group: Tensor) -> Tensor:
    """Which items are there and of the group of their sample."""
    theirs = torch.stack([of[s][mixture.index[:, i]] for i, s in enumerate(SENSES)], 1)
    return mixture.present & (theirs == group[:, None])


def test_labels_say_what_belongs_together_and_classes_come_as_often_as_they_should() -> None:
    vectors, of = world()
    own, group, keys = samples(of)
    have = torch.stack([of[s][own[:, i]] for i, s in enumerate(SENSES)], 1) == group[:, None]
    own, group, keys = (x[have.all(1)] for x in (own, group, keys))  # some group lacks a sense
    mixture = mix(vectors, of, own, group, keys, SCALE)
    found = belongs(mixture, of, group)
    for senses, label in zip(found.tolist(), mixture.label.tolist(), strict=True):
        together = tuple(s for s, belongs in zip(SENSES, senses, strict=True) if belongs)
        assert (together if len(together) > 1 else ()) == CLASSES[label]
    # A sense is left out in half of them; each of the five kinds before that is as likely.
    share = torch.bincount(mixture.label, minlength=len(CLASSES)) / len(own)
    expected = torch.tensor([0.1, 1 / 6, 1 / 6, 1 / 6, 0.4])
    assert (share - expected).abs().max() < 0.015
    assert abs(mixture.present.all(1).float().mean() - 0.5) < 0.015
    assert (mixture.present.sum(1) >= 2).all()


def test_no_two_items_that_do_not_belong_are_of_one_group() -> None:
    vectors, of = world(groups=3)
    mixture = mix(vectors, of, *samples(of), SCALE)
    theirs = torch.stack([of[s][mixture.index[:, i]] for i, s in enumerate(SENSES)], 1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        together = torch.tensor([{SENSES[i], SENSES[j]} <= {*c} for c in CLASSES])[mixture.label]
        both = mixture.present[:, i] & mixture.present[:, j]
        same = theirs[:, i] == theirs[:, j]
        assert torch.equal(same[both], together[both])


def test_half_of_what_does_not_belong_is_hard_to_tell() -> None:
    vectors, of = world()
    hard, easy = (mix(vectors, of, *samples(of), s) for s in (SCALE, torch.zeros(1)))

    def nearness(mixture: Mixture) -> float:
        """Of the names to the pictures, where only these two are there and do not belong."""
        pair = ~mixture.present[:, 1] & (mixture.label == NONE)
        image, _, text = (vectors[s][mixture.index[pair, i]] for i, s in enumerate(SENSES))
        return float((image * text).sum(1).mean())

    # All of it hard would be nearer by .6.
    assert 0.2 < nearness(hard) - nearness(easy) < 0.4


def test_what_is_drawn_depends_on_the_sample_and_not_on_its_neighbours() -> None:
    vectors, of = world()
    own, group, keys = samples(of)
    whole = mix(vectors, of, own, group, keys, SCALE)
    part = mix(vectors, of, own[100:200], group[100:200], keys[100:200], SCALE)
    assert torch.equal(whole.index[100:200], part.index)
    assert torch.equal(whole.label[100:200], part.label)
    redrawn = mix(vectors, of, own, group, keys + 1, SCALE)
    assert not torch.equal(whole.label, redrawn.label)


def test_where_all_are_of_one_group_nothing_is_foreign() -> None:
    vectors, of = world(groups=1)
    mixture = mix(vectors, of, *samples(of), SCALE)
    assert NONE not in mixture.label
    assert torch.equal(mixture.label == 0, mixture.present.all(1))


@pytest.mark.parametrize("absent", range(len(SENSES)))
def test_a_sense_that_a_sample_lacks_stays_absent(absent: int) -> None:
    vectors, of = world()
    own, group, keys = samples(of)
    own[:, absent] = -1
    vectors, of = ({s: x for s, x in y.items() if s != SENSES[absent]} for y in (vectors, of))
    mixture = mix(vectors, of, own, group, keys, SCALE)
    assert not mixture.present[:, absent].any()
    pair = CLASSES.index(tuple(s for s in SENSES if s != SENSES[absent]))
    assert {*mixture.label.tolist()} == {pair, NONE}


def test_the_loss_is_cross_entropy_over_all_of_a_step() -> None:
    logits, label = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    whole = torch.nn.functional.cross_entropy(logits, label)
    parts = matching_loss(logits[:2], label[:2], 6) + matching_loss(logits[2:], label[2:], 6)
    torch.testing.assert_close(parts, whole)
    certain = torch.nn.functional.one_hot(label, 5) * 100.0
    assert matching_loss(certain, label, 6) < 1e-6 < matching_loss(certain.roll(1, 0), label, 6)


def test_blurred_vectors_are_unit_vectors_as_far_from_the_old_ones_as_is_said() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(4_000, 1024, generator=generator), dim=1)
    keys = torch.arange(4_000)
    moved = blur(vectors, keys, 1)
    cosines = (moved * vectors).sum(1)
    assert torch.allclose(moved.norm(dim=1), torch.ones(4_000))
    # Noise of a length r, at a right angle nearly, leaves a cosine of 1 / sqrt(1 + r²).
    assert abs(cosines.min() - (1 + BLUR**2) ** -0.5) < 0.05
    expected = torch.asinh(torch.tensor(BLUR)) / BLUR
    assert abs(cosines.mean() - expected) < 0.005
    assert torch.equal(blur(vectors[7:], keys[7:], 1), moved[7:])  # by key, not by place
    assert not torch.allclose(blur(vectors, keys, 2), moved, atol=1e-3)
