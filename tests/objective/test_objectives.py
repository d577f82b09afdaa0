"""Each loss against its definition."""

import math

import torch

from omni.objective.contrastive import contrastive_loss
from omni.objective.flow import NEAREST, flow_loss, noised
from omni.objective.next_token import next_token_loss

SCALE = torch.tensor(10.0)


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_aligned_pairs_cost_less_than_shuffled_ones() -> None:
    a = torch.nn.functional.normalize(torch.randn(16, 8), dim=-1)
    group = torch.arange(16)
    aligned = contrastive_loss(a, a, group, group, SCALE)
    assert aligned < contrastive_loss(a, a.roll(1, 0), group, group, SCALE)


def test_contrast_of_distinct_pairs_is_cross_entropy() -> None:
    a, b, target = unit(7, 4), unit(7, 4), torch.arange(7)
    clip = torch.nn.functional.cross_entropy(10 * a @ b.T, target)
    torch.testing.assert_close(contrastive_loss(a, b, target, target, SCALE), clip)


def test_samples_of_one_group_are_not_negatives_of_each_other() -> None:
    twice, group = unit(1, 8).repeat(2, 1), torch.zeros(2).long()
    same = contrastive_loss(twice, twice, group, group, SCALE)
    # Two equal positives share the probability: log 2 is the least there is, and no gradient.
    torch.testing.assert_close(same, torch.tensor(math.log(2)))


def test_items_without_a_partner_are_only_negatives() -> None:
    a, b, groups = unit(5, 4), unit(5, 4), torch.arange(5)
    expected = torch.nn.functional.cross_entropy(10 * a[:3] @ b.T, groups[:3])
    torch.testing.assert_close(contrastive_loss(a[:3], b, groups[:3], groups, SCALE), expected)
    torch.testing.assert_close(
        contrastive_loss(a, b[:3], groups, groups[:3], SCALE),
        torch.nn.functional.cross_entropy(10 * a[:3] @ b[:3].T, groups[:3]),
    )
    assert contrastive_loss(a[:3], b[3:], groups[:3], groups[3:], SCALE) == 0


def test_no_item_finds_itself_among_its_own_sense() -> None:
    a, past = unit(4, 8), unit(6, 8)
    groups, theirs = torch.arange(4), torch.tensor([0, 1, 2, 9, 9, 9])
    keys = torch.cat([a, past])
    found = contrastive_loss(a, keys, groups, torch.cat([groups, theirs]), SCALE, own=True)
    expected = torch.stack(
        [
            -(10 * a[i] @ torch.cat([a[:i], a[i + 1 :], past]).T).log_softmax(0)[3 + i]
            for i in range(3)  # the fourth has no partner and asks nothing
        ]
    ).mean()
    torch.testing.assert_close(found, expected)


def test_padding_does_not_count() -> None:
    logits = torch.randn(5, 9)
    targets = torch.tensor([3, 4, 1, 0, 0])
    changed = logits.clone()
    changed[3], changed[4] = 50, -50
    torch.testing.assert_close(next_token_loss(logits, targets), next_token_loss(changed, targets))


def test_flow_loss_is_the_squared_error_of_the_velocity() -> None:
    clean, noise = torch.randn(4, 5, 6), torch.randn(4, 5, 6)
    time, mask = torch.rand(4) * (1 - NEAREST), torch.ones(4, 5, dtype=torch.bool)
    mask[0, 3:] = False
    mixed = noised(clean, noise, time)
    predicted = clean + 0.1 * torch.randn_like(clean)
    velocity = (predicted - mixed) / (1 - time)[:, None, None]
    expected = (velocity - (clean - noise)).square().mean(-1)[mask].mean()
    torch.testing.assert_close(flow_loss(predicted, clean, time, mask), expected)
