"""Ranks and average precision with several right answers, on vectors whose answers are known."""

import pytest
import torch

from eval.metrics import rank
from eval.ranking import average_precision, ranks

GALLERY = torch.tensor([[1.0], [0.8], [0.6], [0.4], [0.2]])
ASKED = torch.ones(1, 1)


@pytest.mark.parametrize(
    ("right", "best", "precision"),
    [
        ([0], 1, 1.0),
        ([2], 3, 1 / 3),
        ([4, 1], 2, (1 / 2 + 2 / 5) / 2),
        ([3, 0, 2], 1, (1 + 2 / 3 + 3 / 4) / 3),
        ([0, 1, 2, 3, 4], 1, 1.0),
    ],
)
def test_the_best_of_several_right_answers_counts(right, best, precision):
    assert ranks(ASKED, GALLERY, [right]).tolist() == [best]
    assert average_precision(ASKED, GALLERY, [right]).item() == pytest.approx(precision)


def test_what_is_beyond_the_depth_adds_nothing():
    assert average_precision(ASKED, GALLERY, [[4, 1]], depth=2).item() == pytest.approx(1 / 4)
    assert average_precision(ASKED, GALLERY, [[4]], depth=2).item() == 0


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_what_ties_comes_before_all_that_is_right(value):
    same = torch.full((5, 1), value)
    assert ranks(ASKED, same, [[1, 3]]).tolist() == [4]
    assert average_precision(ASKED, same, [[1, 3]]).item() == pytest.approx((1 / 4 + 2 / 5) / 2)


def test_with_one_right_answer_it_is_the_rank_of_old():
    torch.manual_seed(0)
    queries, gallery = torch.randn(50, 8), torch.randn(30, 8)
    right = torch.randint(30, (50,))
    assert ranks(queries, gallery, right[:, None].tolist()).equal(rank(queries, gallery, right))


def test_a_query_without_an_answer_is_named():
    with pytest.raises(ValueError, match="query 1 must have a relevant item"):
        ranks(torch.ones(2, 1), GALLERY, [[0], []])
