"""Names are well formed, and every figure reaches the tables, the Markdown and the report."""

import re

import numpy as np
import PIL.Image
import pytest

from eval.bench import Answer, Example
from eval.figures import curve, read_metrics, running_mean
from eval.metrics import Score, exactly
from eval.report import report
from eval.table import NAME, figure, markdown, tables
from omni import Audio

META = {
    "config": "debug",
    "model": "runs/debug",
    "weights": "1" * 64,
    "commit": "0123456789ab-dirty",
    "interval": "95 %",
    "protocols": {"caption": {"normalizer": "lower <case>", "decoding": {"candidates": 4}}},
    "step": 10,
    "trained_with_seed": 0,
    "seed": 0,
    "limit": 4,
    "snr": 0.0,
    "data": "0" * 64,
    "licences": ["noto (Apache-2.0)"],
    "galleries": {"test": 10, "new": 10},
    "machine": "x86_64",
    "torch": "2.11",
    "threads": 2,
    "time": "2026-01-01T00:00:00Z",
    "seconds": {"retrieval": 1.0},
    "command": "python -m eval.run runs/debug",
}
GOOD = [
    "test/retrieval/audio->text/R@1",
    "unseen-new/retrieval/image->audio/median_rank",
    "new/retrieval/noisy audio+image->text/R@1",
    "untrained/test/retrieval/text->image/R@10",
    "chance/new/caption/image->text/exact",
    "test/draw/audio->image/share",
]


@pytest.fixture(scope="module")
def results() -> dict[str, Score]:
    """Figures that are all different, so that each can be looked for."""
    values = iter(np.linspace(0.101, 0.899, 200).round(3).tolist())

    def score() -> Score:
        value = next(values)
        return Score(value, value - 0.05, value + 0.05, 100, 10, 0)

    names = [f"{split}/retrieval/audio->text/R@{k}" for split in ("test", "new") for k in (1, 5)]
    names += ["untrained/test/retrieval/audio->text/R@1", "unseen-new/retrieval/text->image/R@1"]
    names += ["new/transcribe/audio+image->text/CER", "test/caption/image->text/exact"]
    names += ["test/draw/text->image/judged", "test/draw/text->image/share"]
    names += ["real/test/image/judged"]
    found = {name: score() for name in names}
    found["chance/test/retrieval/audio->text/R@1"] = exactly(0.1, 100, 10, 0)
    found["chance/test/retrieval/text->audio/R@1"] = exactly(0.1, 100, 10, 0)
    return found


def examples() -> list[Example]:
    red = PIL.Image.new("RGB", (8, 8), "red")
    sound = Audio(np.sin(np.arange(1600) / 5).astype(np.float32), 16000)
    ranked = [Answer(red, "red <square>", True), Answer(red, "other", False)]
    return [
        Example("retrieval", "audio->image", "red <square>", sound, red, ranked),
        Example("caption", "image->text", "red", red, "red", [Answer("<b>", "<b>", False)]),
        Example("speak", "text->audio", "red", "red", sound, [Answer(sound, "red", True)]),
    ]


@pytest.mark.parametrize("name", GOOD)
def test_a_result_is_named_by_split_task_direction_and_metric(name):
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["retrieval/R@1", "test/draw/text/judged", "chancetest/a/b->c/d"])
def test_other_names_are_not_results(name):
    assert not NAME.fullmatch(name)


def test_every_figure_is_in_a_table(results):
    held = [score for table in tables(results) for row in table.rows for score in row.scores]
    assert {score.value for score in results.values()} <= {score.value for score in held if score}


def test_chance_is_one_row_where_all_directions_agree(results):
    rows = tables(results)[0].rows
    assert [row.label for row in rows if row.kind == "chance"] == ["chance"]


def test_markdown_rows_have_as_many_cells_as_their_head(results):
    text = markdown(results, META)
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    for name, score in results.items():
        assert figure(score.value, name.rsplit("/", 1)[1]) in text


def test_the_report_holds_every_figure_and_asks_for_nothing(results, tmp_path):
    page = report(tmp_path, results, META, examples())
    for name, score in results.items():
        assert name.replace("->", "-&gt;") in page
        assert f"<td>{score.value:.4g}</td>" in page
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)"', page))


def test_what_run_and_tasks_state_is_in_markdown_and_report(results, tmp_path):
    text, page = markdown(results, META), report(tmp_path, results, META, [])
    for told in ("1" * 64, "0123456789ab-dirty", "interval: 95 %", "decoding: candidates 4"):
        assert told in text and told in page
    assert "normalizer: lower <case>" in text and "normalizer: lower &lt;case&gt;" in page


def test_the_report_escapes_names_and_describes_every_picture_and_sound(tmp_path):
    page = report(tmp_path, {}, META, examples())
    assert "<b>" not in page and "red <square>" not in page
    assert len(re.findall("<img ", page)) == len(re.findall('<img [^>]*alt="[^"]+"', page)) == 3
    assert len(re.findall("<button ", page)) == len(re.findall('aria-label="play: ', page)) == 3


def test_a_log_cut_off_in_a_line_is_read_up_to_it(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo')
    assert read_metrics(log)["loss"].tolist() == [[1.0, 2.5]]


def test_a_constant_series_can_be_drawn():
    drawn = curve("lr", np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert "nan" not in drawn and drawn.count("<polyline") == 2


def test_the_running_mean_looks_back_only():
    assert running_mean([1.0, 3.0, 5.0, 7.0], 2).tolist() == [1.0, 2.0, 4.0, 6.0]
