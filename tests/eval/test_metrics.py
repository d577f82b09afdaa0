"""Figures and intervals: against values worked out by hand, and against jiwer."""

import jiwer
import numpy as np
import pytest

from eval.metrics import bootstrap, edits, error_rate, matches, measure, share


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        low, high = bootstrap(generator.random(200) < 0.3, np.mean, seed=trial, num_resamples=300)
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 300 <= 0.99


def test_resamples_are_those_of_all_indices_drawn_at_once():
    values = np.random.default_rng(0).random((37, 2))
    index = np.random.default_rng(5).integers(37, size=(1000, 37))
    at_once = np.percentile(values[index].mean(axis=(1, 2)), [2.5, 97.5])
    assert bootstrap(values, np.mean, seed=5) == pytest.approx(tuple(at_once), abs=1e-12)


def test_five_captions_of_a_picture_are_drawn_together():
    generator = np.random.default_rng(0)
    covered = {"together": 0, "apart": 0}
    for trial in range(200):
        pictures = generator.permutation(60).repeat(5)  # each finds all of its captions, or none
        hits = (generator.random(60) < 0.3)[pictures]
        for name, groups in (("together", pictures), ("apart", None)):
            low, high = bootstrap(hits, np.mean, trial, groups, num_resamples=300)
            covered[name] += low <= 0.3 <= high
    assert 0.88 <= covered["together"] / 200 <= 0.99
    assert covered["apart"] / 200 < 0.75


def test_groups_of_one_are_no_groups_and_of_unequal_size_stay_whole():
    values = np.random.default_rng(0).random(37)
    assert bootstrap(values, np.mean, 5) == bootstrap(values, np.mean, 5, np.arange(37))
    groups = np.repeat([7, 3, 5], [1, 2, 4])
    seen = []
    bootstrap(groups, lambda drawn: seen.append(drawn) or 0.0, 0, groups, num_resamples=50)
    for drawn in seen:
        for group, size in ((7, 1), (3, 2), (5, 4)):
            assert (drawn == group).sum() % size == 0
    assert len({len(drawn) for drawn in seen}) > 1


def test_the_interval_is_fixed_by_the_seed_and_narrows_with_the_queries():
    hits = np.arange(400) % 3 == 0
    first, again = measure(hits, seed=1), measure(hits, seed=1)
    assert first == again
    assert first.high - first.low < 0.6 * (lambda s: s.high - s.low)(measure(hits[:100], seed=1))


def test_no_queries_is_an_error():
    with pytest.raises(ValueError, match="at least one query"):
        measure(np.array([]), seed=0)


def test_exact_match_forgives_case_and_spaces_only():
    answers = ["Red  Apple ", "red apple", "red aple", ""]
    assert matches(answers, ["red apple"] * 4).tolist() == [True, True, False, False]


def test_the_character_error_rate_is_that_of_jiwer():
    truths = ["red apple", "cat", "face with tears of joy"]
    answers = ["red aple", "", "face with tears of toys"]
    rows = edits(answers, truths)
    assert rows.tolist() == [[1, 9], [3, 3], [2, 22]]
    assert error_rate(rows) == pytest.approx(jiwer.cer(truths, answers))


def test_share_divides_accuracies_on_the_same_queries():
    assert share(np.array([[1, 1], [0, 1], [1, 1], [0, 1]])) == 0.5
    assert share(np.array([[0, 0], [0, 0]])) == 0.0
