"""Which senses are dropped, how often."""

import torch

from omni.objective.dropping import draw_kept

KEYS = torch.arange(100_000) * 15_485_863
CRITICAL = 22.46
"""chi-square of six degrees of freedom that is exceeded with a probability of .001"""


def chi_square(found: torch.Tensor, expected: torch.Tensor) -> float:
    wanted = expected.double() / expected.sum() * found.sum()
    return float(((found - wanted).square() / wanted).sum())


def counts(kept: torch.Tensor) -> torch.Tensor:
    """Of the eight patterns, number 7 being all three."""
    return torch.bincount((kept * torch.tensor([1, 2, 4])).sum(1), minlength=8)


def test_the_patterns_come_as_often_as_rejecting_says() -> None:
    found = counts(draw_kept(KEYS, torch.ones(len(KEYS), 3, dtype=torch.bool)))
    one, two = 0.7**2 * 0.3 / 0.973, 0.7 * 0.3**2 / 0.973
    expected = torch.tensor([0, two, two, one, two, one, one, 0.7**3 / 0.973])
    assert found[0] == 0
    table = torch.tensor([0.3525, 0.1511, 0.0647])
    torch.testing.assert_close(expected[[7, 3, 1]], table, atol=1e-4, rtol=0)
    assert chi_square(found[1:], expected[1:]) < CRITICAL
    # Control: that a sense goes with a probability of .29 would be seen.
    one, two = 0.71**2 * 0.29, 0.71 * 0.29**2
    wrong = torch.tensor([two, two, one, two, one, one, 0.71**3])
    assert chi_square(found[1:], wrong) > CRITICAL


def test_what_is_not_there_is_neither_kept_nor_dropped() -> None:
    two = torch.tensor([True, False, True]).repeat(len(KEYS), 1)
    found = counts(draw_kept(KEYS, two)) / len(KEYS)
    expected = torch.tensor([0, 0.21, 0, 0, 0.21, 0.49, 0, 0]) / 0.91
    assert (found - expected).abs().max() < 0.01
    lone = torch.tensor([False, True, False]).repeat(len(KEYS), 1)
    assert torch.equal(draw_kept(KEYS, lone), lone)


def test_the_key_of_a_sample_decides() -> None:
    three = torch.ones(len(KEYS), 3, dtype=torch.bool)
    kept = draw_kept(KEYS, three)
    assert torch.equal(draw_kept(KEYS[50:60], three[50:60]), kept[50:60])
    assert not torch.equal(draw_kept(KEYS + 1, three), kept)
