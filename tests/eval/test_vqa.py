"""VQA's rule against cases worked out by hand."""

import pytest

from eval.vqa import accuracy, normalize


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("The Red, ball!", "red ball"),
        ("two", "2"),
        ("None", "0"),
        ("dont", "don't"),
        ("Don't", "don't"),
        ("girl's", "girl's"),  # no plural
        ("girls", "girls"),
        ("2:50 p.m.", "2:50 pm"),
        ("100,978", "100978"),
        ("red,blue", "red blue"),
        ("1.5 ft.", "1.5 ft"),
        ("a\tt-shirt\n", "t shirt"),
        ("whats on/off", "what's on off"),
        ("were", "were"),  # a word of its own, not "we're"
        ("a", ""),
    ],
)
def test_an_answer_is_normalised(answer: str, plain: str) -> None:
    assert normalize(answer) == plain
    assert normalize(plain) == plain


@pytest.mark.parametrize(
    ("said", "expected"),
    # Of the ten subsets of nine, `said` lack one who says the same: min(n / 3, 1) over all.
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)],
)
def test_ten_answers_are_averaged_over_the_subsets_of_nine(said: int, expected: float) -> None:
    answers = ["The cat."] * said + [f"dog {n}" for n in range(10 - said)]
    assert accuracy("cat", answers) == pytest.approx(expected)
    assert accuracy("cow", answers) == 0
