"""What is drawn for an item belongs to it, and is random."""

import ast
import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch

from omni.batch import SENSES
from omni.nn import draws
from omni.nn.draws import Draws, Purpose

KEYS = torch.randint(-(2**62), 2**62, (512,), generator=torch.Generator().manual_seed(0))


def test_an_item_draws_the_same_in_any_batch():
    whole = Draws(KEYS, Purpose.AUDIO_NOISE).uniform(-1, 1, 5, 2)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Draws(KEYS[order], Purpose.AUDIO_NOISE).uniform(-1, 1, 5, 2), whole[order])
    assert torch.equal(Draws(KEYS[7:8], Purpose.AUDIO_NOISE).uniform(-1, 1, 5, 2), whole[7:8])


def test_keys_purposes_and_calls_draw_apart():
    same = Draws(KEYS, Purpose.AUDIO_NOISE)
    first, second, other = (
        same.noise(64),
        same.noise(64),
        Draws(KEYS, Purpose.FLOW_NOISE, 2).noise(64),
    )
    for a, b in ((first, second), (first, other), (first[1:], first[:-1])):
        # Correlation of 32,768 pairs: 0.0055 is one standard deviation.
        assert abs((a * b).mean()) < 0.025


def test_numbers_are_evenly_spread():
    values = Draws(torch.arange(4096), Purpose.AUDIO_NOISE).uniform(2, 4, 16)  # neighbouring keys
    assert values.min() >= 2 and values.max() < 4
    counts = torch.histc(values, 16, 2, 4)
    assert (counts - 4096).abs().max() < 5 * 64
    noise = Draws(KEYS, Purpose.AUDIO_NOISE).noise(128)
    assert abs(noise.mean()) < 0.02 and abs(noise.var() - 1) < 0.02


def test_no_two_purposes_share_a_number():
    """Two draws by one number are the same random numbers: what they decide would go together."""
    numbers = Counter(itertools.chain.from_iterable(purpose.value for purpose in Purpose))
    assert {number for number, count in numbers.items() if count > 1} == set()
    assert {len(purpose.value) for purpose in Purpose} == {1, len(SENSES)}
    with pytest.raises(IndexError):  # the number of the next purpose is out of reach
        Draws(KEYS, Purpose.MATCHING_MIXTURE, 1)


def test_each_purpose_is_drawn_for_at_one_place_of_the_package():
    places = Counter[str]()
    for path in Path(draws.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Purpose":
                places[node.attr] += 1
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Draws":
                purpose = ast.unparse(node.args[1])
                assert purpose.startswith("Purpose.") or purpose == "purpose", path
    assert places == Counter({purpose.name: 1 for purpose in Purpose})
