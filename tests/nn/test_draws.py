"""What is drawn for an item belongs to it, and is random."""

import torch

from omni.nn.draws import Draws

KEYS = torch.randint(-(2**62), 2**62, (512,), generator=torch.Generator().manual_seed(0))


def test_an_item_draws_the_same_in_any_batch():
    whole = Draws(KEYS, 1).uniform(-1, 1, 5, 2)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Draws(KEYS[order], 1).uniform(-1, 1, 5, 2), whole[order])
    assert torch.equal(Draws(KEYS[7:8], 1).uniform(-1, 1, 5, 2), whole[7:8])


def test_keys_purposes_and_calls_draw_apart():
    draws = Draws(KEYS, 1)
    first, second, other = draws.noise(64), draws.noise(64), Draws(KEYS, 2).noise(64)
    for a, b in ((first, second), (first, other), (first[1:], first[:-1])):
        # Correlation of 32,768 pairs: 0.0055 is one standard deviation.
        assert abs((a * b).mean()) < 0.025


def test_numbers_are_evenly_spread():
    values = Draws(torch.arange(4096), 1).uniform(2, 4, 16)  # neighbouring keys
    assert values.min() >= 2 and values.max() < 4
    counts = torch.histc(values, 16, 2, 4)
    assert (counts - 4096).abs().max() < 5 * 64
    noise = Draws(KEYS, 1).noise(128)
    assert abs(noise.mean()) < 0.02 and abs(noise.var() - 1) < 0.02
