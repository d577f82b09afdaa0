"""Figures: against values worked out by hand, against brute force, and against chance."""

import jiwer
import numpy as np
import pytest
import torch

from eval.metrics import (
    bootstrap,
    edits,
    error_rate,
    matches,
    measure,
    nearest,
    rank,
    share,
)


def unit(*shape: int, seed: int) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)


def test_ranks_are_those_worked_out_by_hand():
    gallery = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert rank(queries, gallery, torch.tensor([0, 2, 1])).tolist() == [1, 3, 2]


@pytest.mark.parametrize("block", [7, 64, 4096])
def test_blocks_give_the_ranks_of_brute_force(block):
    queries, gallery = unit(61, 16, seed=0), unit(93, 16, seed=1)
    targets = torch.randint(93, (61,), generator=torch.Generator().manual_seed(2))
    order = (queries.double() @ gallery.double().T).argsort(dim=1, descending=True)
    brute = (order == targets[:, None]).int().argmax(dim=1) + 1
    assert torch.equal(rank(queries, gallery, targets, block), brute)
    assert torch.equal(nearest(queries, gallery, 5, block), order[:, :5])


@pytest.mark.parametrize("value", [0.125, float("nan")])
def test_a_constant_embedding_ranks_last_everywhere(value):
    same = torch.full((50, 64), value)
    assert rank(same, same, torch.arange(50), block=16).tolist() == [50] * 50


def test_a_nearly_constant_embedding_scores_nothing():
    # Rounding alone tells these apart; a rank that counts only strictly better items calls it 1.
    same = unit(1, 64, seed=0) + 1e-9 * unit(200, 64, seed=1)
    assert (rank(same, same, torch.arange(200)) > 10).all()


def test_shuffled_pairs_score_chance():
    vectors = unit(2000, 32, seed=0)
    shuffled = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    assert (rank(vectors, vectors, torch.arange(2000)) == 1).all()
    ranks = rank(vectors, vectors, shuffled).numpy()
    score = measure(ranks <= 200, seed=0)
    assert score.low < 0.1 < score.high
    assert 900 < np.median(ranks) < 1100


def test_two_equal_gallery_items_cannot_both_be_first():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert rank(gallery, gallery, torch.arange(3)).tolist() == [2, 2, 1]


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        low, high = bootstrap(generator.random(200) < 0.3, np.mean, seed=trial, num_resamples=300)
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 300 <= 0.99


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
