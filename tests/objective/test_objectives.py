"""Each loss against its definition."""

import math

import pytest
import torch

from omni.objective.contrastive import asking, contrastive_loss
from omni.objective.flow import NEAREST, draw_noise, draw_times, flow_loss, noised
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


def test_the_contrast_is_as_exact_where_the_network_runs_in_bf16() -> None:
    a, b = unit(64, 32), unit(64, 32)
    groups, scale = torch.arange(64), torch.tensor([40.0])
    exact = contrastive_loss(a, b, groups, groups, scale)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(contrastive_loss(a, b, groups, groups, scale), exact)


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
    found = contrastive_loss(a, keys, groups, torch.cat([groups, theirs]), SCALE, own=0)
    expected = torch.stack(
        [
            -(10 * a[i] @ torch.cat([a[:i], a[i + 1 :], past]).T).log_softmax(0)[3 + i]
            for i in range(3)  # the fourth has no partner and asks nothing
        ]
    ).mean()
    torch.testing.assert_close(found, expected)


def by_brute_force(
    queries: torch.Tensor, keys: torch.Tensor, a: list[int], b: list[int], own: int | None
) -> list[float]:
    """The loss of each query that asks, in plain Python."""
    losses = []
    for i, query in enumerate(queries):
        others = [j for j in range(len(keys)) if own is None or j != own + i]
        weights = {j: math.exp(10 * float(query @ keys[j])) for j in others}
        right = [weights[j] for j in others if a[i] == b[j]]
        if right:
            total = sum(weights.values())
            losses.append(-sum(math.log(weight / total) for weight in right) / len(right))
    return losses


A, B = [0, 0, 1, 2, 3, 7, 8, 3], [0, 1, 1, 2, 0, 9, 3, 3, 5]


@pytest.mark.parametrize("within", [False, True])
def test_the_contrast_is_its_definition_and_adds_up_from_parts(within: bool) -> None:
    queries, groups = unit(len(A), 6), torch.tensor(A)
    keys, theirs = unit(len(B), 6), torch.tensor(B)
    if within:  # the queries themselves, then what is remembered
        keys, theirs = torch.cat([queries, keys]), torch.cat([groups, theirs])
    own = 0 if within else None
    expected = by_brute_force(queries, keys, A, theirs.tolist(), own)
    ask = asking(groups, theirs, own=within)
    assert int(ask.sum()) == len(expected)
    whole = contrastive_loss(queries, keys, groups, theirs, SCALE, own)
    torch.testing.assert_close(float(whole), sum(expected) / len(expected), atol=1e-5, rtol=0)
    parts = [
        contrastive_loss(
            queries[i:j], keys, groups[i:j], theirs, SCALE, i if within else None, len(expected)
        )
        for i, j in ((0, 3), (3, 3), (3, 6), (6, 8))
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
    # Control: the mean of each part's own mean is something else.
    means = [
        contrastive_loss(queries[i:j], keys, groups[i:j], theirs, SCALE, i if within else None)
        for i, j in ((0, 4), (4, 8))  # four that ask, and two
    ]
    assert abs(torch.stack(means).mean() - whole) > 1e-3


@pytest.mark.parametrize("own", [False, True])
def test_who_asks_is_who_has_another_of_its_group_to_find(own: bool) -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        a = torch.randint(8, (6,), generator=generator)
        keys = torch.randint(8, (5,), generator=generator)
        b = torch.cat([a, keys]) if own else keys
        expected = [
            any(a[i] == b[j] for j in range(len(b)) if not (own and i == j)) for i in range(len(a))
        ]
        assert asking(a, b, own).tolist() == expected
    nobody = torch.zeros(0, dtype=torch.long)
    assert not asking(torch.arange(3), nobody).any() and asking(nobody, nobody).shape == (0,)


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


KEYS = torch.randint(-(2**62), 2**62, (512,), generator=torch.Generator().manual_seed(0))


def test_noise_belongs_to_its_item() -> None:
    order = torch.randperm(512, generator=torch.Generator().manual_seed(1))
    noise, times = draw_noise(KEYS, 0, 4, 8), draw_times(KEYS, 0)
    assert torch.equal(draw_noise(KEYS[order], 0, 4, 8), noise[order])
    assert torch.equal(draw_noise(KEYS[7:8], 0, 4, 8), noise[7:8])
    assert torch.equal(draw_times(KEYS[order], 0), times[order])
    assert torch.equal(draw_times(KEYS[7:8], 0), times[7:8])
    assert draw_noise(KEYS[:0], 0, 4, 8).shape == (0, 4, 8)


def test_each_item_and_each_purpose_has_noise_of_its_own() -> None:
    """Keys that differ in high bits only, too: a seed of torch's on a CPU has 32."""
    noise = draw_noise(KEYS, 0, 64)
    for other in (draw_noise(KEYS, 1, 64), noise.roll(1, 0), draw_noise(KEYS + 2**33, 0, 64)):
        # Correlation of 32,768 pairs: 0.0055 is one standard deviation.
        assert abs((noise * other).mean()) < 0.025
    times = draw_times(KEYS, 0).logit() + 1
    for other in (draw_times(KEYS, 1).logit() + 1, times.roll(1)):
        assert abs((times * other).mean()) < 0.2  # of 512 pairs: 0.044


def test_noise_is_normal_and_times_are_logit_normal() -> None:
    keys = torch.arange(20_000)
    for values, scale in ((draw_noise(keys[:200], 0, 100), 1), (draw_times(keys, 0).logit(), -1)):
        z = values.flatten() - (0 if scale == 1 else -1)
        assert abs(z.mean()) < 0.03 and abs(z.var() - 1) < 0.05
        # Share within one and two standard deviations.
        for bound, share in ((1, 0.6827), (2, 0.9545)):
            assert abs((z.abs() < bound).float().mean() - share) < 0.015
        assert z.isfinite().all()
