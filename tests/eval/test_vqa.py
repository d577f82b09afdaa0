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
        (".5", ".5"),  # a period goes where no digit follows, whatever stands before it
        ("5.", "5"),
        ("b - c", "b c"),  # the hyphen goes, the two spaces are one
        ("b -c d-e", "b c de"),  # one hyphen beside a space, and none of them parts words
        ("1,000 t-shirts", "1000 tshirts"),  # a comma between digits: every mark goes, none parts
        ("couldnt've", "couldn't've"),  # any one apostrophe may be missing, not two
        ("couldntve", "couldntve"),
        ("shes", "shes"),  # not in the official table, unlike "hes"
        ("notve", "not've"),
        ("somebody'd", "somebodyd"),  # the wrong way round in the official table
        ("12:30", "12:30"),
        ("Ten.", "10"),
        ("THE One", "1"),
        ("b" + "." * 40, "b" + "." * 8),  # 32 periods go: the script passes a flag as the count
    ],
)
def test_an_answer_is_normalised(answer: str, plain: str) -> None:
    assert normalize(answer) == plain


@pytest.mark.parametrize(
    ("said", "expected"),
    # Of the ten subsets of nine, `said` lack one who says the same: min(n / 3, 1) over all.
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)],
)
def test_ten_answers_are_averaged_over_the_subsets_of_nine(said: int, expected: float) -> None:
    answers = ["The cat."] * said + [f"dog {n}" for n in range(10 - said)]
    assert accuracy("cat", answers) == pytest.approx(expected)
    assert accuracy("cow", answers) == 0


@pytest.mark.parametrize(
    ("answer", "answers", "expected"),
    [
        # All ten say the same: nothing is normalised, on neither side. Of ten alike every subset
        # of nine holds nine, so that the answer is worth 1 or 0.
        ("yes", ["yes"] * 10, 1.0),
        ("Yes", ["yes"] * 10, 0.0),
        ("2", ["two"] * 10, 0.0),
        ("two", ["two"] * 10, 1.0),
        ("The cat.", ["The cat."] * 10, 1.0),
        ("cat", ["The cat."] * 10, 0.0),
        # White space around an answer is no difference, nor is a tab or a new line.
        ("yes\n", [" yes"] * 5 + ["yes\t"] * 5, 1.0),
        ("red\tcat", ["red cat"] * 5 + ["red\ncat"] * 5, 1.0),
        # They differ before they are normalised and not after: they are normalised. Ten say "2".
        ("Two!", ["two"] * 9 + ["2"], 1.0),
        ("2", ["Two"] + ["two"] * 9, 1.0),
        # Two of ten: the eight subsets that lack another hold 2 (2 / 3), the two that lack one of
        # them 1 (1 / 3): (8 * 2 / 3 + 2 * 1 / 3) / 10 = 0.6.
        ("dont", ["don't", "dont"] + ["do"] * 8, 0.6),
        # Nine of ten: 9 * min(8 / 3, 1) + min(9 / 3, 1), over 10.
        ("none", ["0"] * 9 + ["one"], 1.0),
        # One of ten: nine subsets hold it (1 / 3), one does not: 0.3.
        ("one", ["0"] * 9 + ["1"], 0.3),
        # Articles are all there is of both: the empty answer is the same as "the".
        ("a", ["the"] * 3 + ["cat"] * 7, 0.9),
    ],
)
def test_people_are_normalised_where_they_differ(
    answer: str, answers: list[str], expected: float
) -> None:
    assert accuracy(answer, answers) == pytest.approx(expected)
