"""The task of answers, on shards of questions that a small model has learned to answer."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eval.run import main
from eval.table import NAME
from omni.pipeline.synthetic import _members, make_questions
from omni.pipeline.writer import write_shard

SOURCES = ("image+text", "audio+text", "audio+image+text")


def asked_of_ten(split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Questions that seven people answer right, each in a way of their own, and three do not."""
    for sample in make_questions(split, 120):
        (truth,) = sample.answers
        answers = [truth] * 5 + [f"The {truth}.", truth.upper(), "no", "no", "two"]
        made = replace(sample, meta=sample.meta | {"answers": answers})
        yield sample.key, _members(made)


@pytest.fixture(scope="module")
def run(asked_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, data = tmp_path_factory.mktemp("runs") / "asked", tmp_path_factory.mktemp("questions")
    shutil.copytree(asked_run, folder)
    for split in ("train", "val"):
        write_shard(data / f"{split}-000000.tar", asked_of_ten(split))
    main([str(folder), "answer", "--data", str(data), "--limit", "90"])
    return folder


def test_answers_are_right_and_every_control_fails(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())["results"]
    assert all(NAME.fullmatch(name) for name in results)
    assert sum(results[f"val/answer/{source}->text/exact"]["n"] for source in SOURCES) == 90
    for source in SOURCES:
        for metric in ("exact", "VQA", "chosen", "VQA_chosen"):
            value = results[f"val/answer/{source}->text/{metric}"]["value"]
            assert value > 0.7, (source, metric)
            for control in (
                f"untrained/val/answer/{source}",
                f"val/answer/blind {source}",
                f"val/answer/shuffled {source}",
            ):
                assert results[f"{control}->text/{metric}"]["value"] < 0.5, (control, metric)
        assert results[f"chance/val/answer/{source}->text/exact"]["value"] < 0.3
        # Each of 6 colours and 4 shapes in three spellings, "no" and "two".
        assert results[f"val/answer/{source}->text/chosen"]["gallery"] == 32


def test_the_report_says_how_it_was_measured(run: Path) -> None:
    told = (run / "results.md").read_text()
    assert "## Answers to questions" in told and "At most 90 questions of val." in told
    assert "asked about pictures and recordings" in (run / "report.html").read_text()


def test_shards_without_answers_are_named(
    asked_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(asked_run), "answer", "--data", str(small_data)])
    assert "holds no val-*.tar" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(asked_run), "answer", "match", "--data", str(small_data)])
    assert "measured apart" in capsys.readouterr().err
