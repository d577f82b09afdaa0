"""OPT's card: our figures in its layout, its own beside them, and nothing that mixes the two."""

import sys
from types import SimpleNamespace

import pytest

from eval.metrics import Score
from eval.opt import NOTE, PUBLISHED
from eval.table import Row, Table, markdown, tables
from eval.tasks import KNOWN, TASKS
from tests.eval.test_table import META


def scored(value: float) -> Score:
    return Score(value, value - 0.01, value + 0.01, 1000, 1109, 0)


OURS = {
    "test/retrieval/text->image/R@1": scored(0.471),
    "test/retrieval/text->image/R@10": scored(0.883),
    "test/retrieval/audio->image/R@5": scored(0.612),
    "test/retrieval/audio+text->image/R@1": scored(0.497),
    "test/caption/image->text/exact": scored(0.215),
    "test/transcribe/audio->text/CER": scored(0.034),
    "test/draw/text->image/judged": scored(0.778),
}
ASKED = OURS | PUBLISHED
OTHERS = {
    "new/retrieval/text->image/R@1": scored(0.111),
    "untrained/test/retrieval/text->image/R@1": scored(0.112),
    "chance/test/retrieval/text->image/R@1": scored(0.113),
    "unseen-test/retrieval/text->image/R@1": scored(0.114),
    "test/retrieval/reranked text->image/R@1": scored(0.115),
    "test/draw/text->image/share": scored(0.116),
}


def cards(results: dict[str, Score]) -> list[Table]:
    return [table for table in tables(results) if table.title.startswith("OPT's card")]


def values(rows: list[Row], label: str) -> list[float | None]:
    (row,) = (row for row in rows if row.label == label)
    return [score and score.value for score in row.scores]


def test_our_figures_stand_beside_those_that_were_published():
    retrieval, made = cards(ASKED | OTHERS)
    assert values(retrieval.rows, "text → image") == [0.471, None, 0.883, 0.4196, 0.72, 0.8126]
    assert values(retrieval.rows, "audio + text → image") == [0.497, None, None, 0.5706, None, None]
    assert values(retrieval.rows, "audio → image") == [None, 0.612, None, None, None, None]
    assert made.columns == [("test", "exact"), ("test", "CER"), ("test", "judged"), ("OPT", "WER")]
    assert [[score and score.value for score in row.scores] for row in made.rows] == [
        [0.215, None, None, None],
        [None, 0.034, None, 0.3024],
        [None, None, 0.778, None],
    ]


def test_only_figures_of_the_model_on_test_are_in_it():
    shown = {score for table in cards(ASKED | OTHERS) for row in table.rows for score in row.scores}
    assert {score.value for score in shown if score} <= {
        score.value for score in (*OURS.values(), *PUBLISHED.values())
    }
    assert all(row.kind == "model" for table in cards(ASKED | OTHERS) for row in table.rows)


def test_a_column_holds_figures_of_one_side_only():
    for table in cards(ASKED):
        for (side, _), *column in zip(table.columns, *(r.scores for r in table.rows), strict=True):
            published = {score in PUBLISHED.values() for score in column if score}
            assert published <= {side == "OPT"}


@pytest.mark.parametrize("results", [{}, OTHERS, OURS])
def test_there_is_no_card_where_nothing_of_it_was_measured_or_none_was_asked_for(results):
    assert cards(results) == []


def test_the_markdown_says_that_the_two_are_not_to_be_compared():
    text = markdown(ASKED, META)
    assert text.count(NOTE) == 2 and "arXiv:2107.00249" in NOTE and "not to be compared" in NOTE
    assert "| direction | test R@1 | test R@5 | test R@10 | OPT R@1 | OPT R@5 | OPT R@10 |" in text
    assert "| 42.0 | 72.0 | 81.3 |" in text


def test_the_task_measures_what_the_card_is_made_of(monkeypatch):
    module = sys.modules["eval.tasks.opt"]  # its name in the package is that of the function
    for name in ("retrieval", "caption", "transcribe", "draw"):
        found = [(key, score) for key, score in OURS.items() if key.split("/")[1] == name]
        monkeypatch.setattr(module, name, lambda _, found=found: iter(found))
    assert KNOWN["opt"] is module.opt and "opt" not in TASKS
    bench = SimpleNamespace()
    assert dict(module.opt(bench)) == ASKED
    assert bench.protocol.task == "published"  # and not drawn
