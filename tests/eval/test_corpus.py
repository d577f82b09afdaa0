"""The corpus as the tasks see it: noise at the ratio asked for, subsets that nest, digests."""

import numpy as np
import pytest
import torch

from eval.corpus import Corpus, choose, keyed, noisy
from omni.batch import Sample


def tone(key: str, amplitude: float = 0.1) -> Sample:
    wave = amplitude * np.sin(np.arange(16000) / 7)
    return Sample(key=key, audio=torch.from_numpy((wave * 32768).astype(np.int16)))


@pytest.mark.parametrize("snr", [-6.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(snr):
    sample = tone("a")
    clean = sample.audio.numpy() / 32768
    noise = noisy(sample, snr, seed=0).samples - clean
    measured = 10 * np.log10(np.mean(clean**2) / np.mean(noise**2))
    assert measured == pytest.approx(snr, abs=0.01)


def test_noise_is_keyed_by_seed_and_sample():
    first = noisy(tone("a"), 0, seed=0).samples
    assert np.array_equal(first, noisy(tone("a"), 0, seed=0).samples)
    assert not np.array_equal(first, noisy(tone("b"), 0, seed=0).samples)
    assert not np.array_equal(first, noisy(tone("a"), 0, seed=1).samples)


def test_loud_noise_is_scaled_and_not_clipped():
    loud = noisy(tone("a", amplitude=0.9), -10, seed=0).samples
    assert np.abs(loud).max() == pytest.approx(1.0)
    assert (np.abs(loud) > 0.999).sum() == 1


def test_a_smaller_subset_lies_within_a_larger_one():
    samples = [Sample(key=str(i)) for i in range(100)]
    large = [s.key for s in choose(samples, 40, seed=3)]
    small = [s.key for s in choose(samples, 10, seed=3)]
    assert len(large) == 40 and set(small) < set(large)
    assert small == sorted(small, key=int)
    assert small != [s.key for s in choose(samples, 10, seed=4)]


def test_keys_are_the_same_on_every_machine():
    assert keyed(0, "1f600-noto") == 0xE374C59D0AC86BB5


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no train-\*\.tar"):
        Corpus(tmp_path)
