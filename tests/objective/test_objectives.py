"""Each loss against its definition."""

import math

import torch

from omni.objective.contrastive import contrastive_loss
from omni.objective.flow import NEAREST, flow_loss, noised
from omni.objective.next_token import next_token_loss

SCALE = torch.tensor(10.0)


def test_aligned_pairs_cost_less_than_shuffled_ones() -> None:
    a = torch.nn.functional.normalize(torch.randn(16, 8), dim=-1)
    group = torch.arange(16)
    aligned = contrastive_loss(a, a, group, group, SCALE)
    assert aligned < contrastive_loss(a, a.roll(1, 0), group, group, SCALE)


def test_contrast_of_distinct_pairs_is_clips_loss() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(7, 4), dim=-1) for _ in range(2))
    logits, target = 10 * a @ b.T, torch.arange(7)
    clip = (
        torch.nn.functional.cross_entropy(logits, target)
        + torch.nn.functional.cross_entropy(logits.T, target)
    ) / 2
    torch.testing.assert_close(contrastive_loss(a, b, target, target, SCALE), clip)


def test_samples_of_one_group_are_not_negatives_of_each_other() -> None:
    vector = torch.nn.functional.normalize(torch.randn(1, 8), dim=-1)
    twice, group = vector.repeat(2, 1), torch.zeros(2).long()
    same = contrastive_loss(twice, twice, group, group, SCALE)
    # Two equal positives share the probability: log 2 is the least there is, and no gradient.
    torch.testing.assert_close(same, torch.tensor(math.log(2)))


def test_items_without_a_partner_are_only_negatives() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(5, 4), dim=-1) for _ in range(2))
    few, all_ = torch.arange(3), torch.arange(5)
    logits = 10 * a[:3] @ b.T
    forward = torch.nn.functional.cross_entropy(logits, few)
    backward = torch.nn.functional.cross_entropy(logits.T[:3], few)
    found = contrastive_loss(a[:3], b, few, all_, SCALE)
    torch.testing.assert_close(found, (forward + backward) / 2)
    assert contrastive_loss(a[:3], b[3:], few, all_[3:], SCALE) == 0


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
