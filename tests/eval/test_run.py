"""The command line, whole: a small trained model, real shards, all tasks."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from eval import judge
from eval.run import main
from eval.table import NAME
from eval.tasks import TASKS
from omni.config import Config, EvaluateConfig
from omni.training.evaluation import evaluate
from tests.browser import chromium, look


@pytest.fixture(scope="module")
def run(tiny_run: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run, evaluated with judges of a few steps."""
    folder = tmp_path_factory.mktemp("evaluated") / "debug"
    shutil.copytree(tiny_run, folder)
    with pytest.MonkeyPatch.context() as patch:
        for sense, config in judge.SETTINGS.items():
            patch.setitem(judge.SETTINGS, sense, dataclasses.replace(config, steps=2))
        weights = folder / "extractor.safetensors"
        save_file(timm.create_model("test_resnet").state_dict(), weights)
        extractor = ["--extractor", f"test_resnet={weights}"]
        main([str(folder), "--data", str(small_data), "--limit", "4", *extractor])
    return folder


def test_results_are_well_formed(run):
    text = json.loads((run / "results.json").read_text())
    assert text["meta"]["config"] == "debug" and text["meta"]["step"] > 0
    assert text["meta"]["galleries"] == {"test": 24, "new": 24}
    assert len(text["meta"]["data"]) == len(text["meta"]["weights"]) == 64
    assert set(text["meta"]["seconds"]) == {*TASKS}
    for name, score in text["results"].items():
        assert NAME.fullmatch(name) or name.startswith("real/"), name
        assert score["low"] <= score["value"] <= score["high"], name
        assert score["n"] > 0 and score["seed"] == 0


def test_every_promised_result_is_there(run):
    results = json.loads((run / "results.json").read_text())["results"]
    promised = [
        "test/retrieval/audio->text/R@1",
        "untrained/new/retrieval/image->audio/median_rank",
        "unseen-test/retrieval/text->image/R@10",
        "new/retrieval/noisy audio->text/R@1",
        "new/retrieval/noisy audio+image->text/R@1",
        "test/retrieval/image+text->audio/R@5",
        "new/retrieval/reranked image->text/R@1",
        "unseen-test/retrieval/reranked text->image/R@5",
        "test/match/image+audio+text->class/accuracy",
        "untrained/new/match/image+audio+text->class/accuracy",
        "new/caption/image->text/exact",
        "test/transcribe/audio->text/CER",
        "new/transcribe/audio+image->text/CER",
        "new/transcribe/noisy audio->text/CER",
        "new/transcribe/noisy audio+image->text/CER",
        "test/draw/audio->image/judged",
        "test/draw/text->image/share",
        "test/draw/text->image/FID",
        "untrained/test/draw/audio->image/KID",
        "real/test/image/judged",
        "test/speak/text->audio/judged",
        "new/speak/image->audio/judged",
        "real/new/audio/judged",
        "chance/new/speak/image->audio/judged",
    ]
    assert [name for name in promised if name not in results] == []
    assert results["chance/test/retrieval/audio->text/R@5"]["value"] == pytest.approx(5 / 24)
    noisy = results["new/retrieval/noisy audio->text/R@1"]
    assert noisy["protocol"] == "white noise at 0 dB SNR"
    seen, unseen = (results[f"{s}/retrieval/audio->text/R@1"]["n"] for s in ("test", "unseen-test"))
    assert seen + unseen == results["test/retrieval/audio->text/R@1"]["gallery"] == 24


def test_an_untrained_network_scores_chance(run):
    results = json.loads((run / "results.json").read_text())["results"]
    ranks = [
        score["value"]
        for name, score in results.items()
        if name.startswith("untrained/") and name.endswith("median_rank")
    ]
    assert len(ranks) == 12
    assert 9 < sum(ranks) / len(ranks) < 16  # chance: 12.5 of 24


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


def test_the_report_is_whole_in_a_browser(run, browser):
    for told in look(browser, run / "report.html"):
        assert told["wrong"] == []
        assert told["pictures"] > 50 and told["sounds"] > 20


def test_what_is_wrong_with_a_page_is_seen(browser, tmp_path):
    page = """<html><head></head><body><img alt="of nothing" src="data:image/png;base64,AAAA">
    <audio src="data:audio/wav;base64,AAAA"></audio><div style="width: 2000px">wide</div>
    <script>missing()</script></body></html>"""
    (tmp_path / "page.html").write_text(page)
    for told in look(browser, tmp_path / "page.html"):
        for wrong in ("no picture: of nothing", "no sound", "wider than the window", "not defined"):
            assert any(wrong in one for one in told["wrong"]), wrong


def test_the_report_of_a_real_run_asks_for_nothing(run):
    page = (run / "report.html").read_text()
    assert "://" not in page  # "http" alone may be part of a picture
    assert page.count("data:audio/wav") > 10 and page.count("data:image/webp") > 10
    assert "<h2>Training</h2>" in page
    for told in ("name against picture, new", "speech against picture, new", "Matching, test"):
        assert f"<figcaption>{told}</figcaption>" in page
    assert page.count('class="cell"') > 3 * 20 * 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "retrieve"], "task must be one of retrieval, match, caption"),
        (["RUN", "--limit", "0"], "--limit must be at least 1, got 0"),
        (["RUN", "--seed", "x"], "invalid int value"),
        (["RUN", "--data", "nowhere"], "nowhere holds no train-*.tar"),
        (["nowhere"], "nowhere is no folder of a run"),
        (["EMPTY"], "holds no model"),
    ],
)
def test_bad_arguments_are_told_in_one_line(
    arguments, said, tiny_run, small_data, tmp_path, capsys
):
    places = {"RUN": str(tiny_run), "EMPTY": str(tmp_path)}
    given = [places.get(argument, argument) for argument in arguments]
    data = [] if "--data" in given else ["--data", str(small_data)]
    with pytest.raises(SystemExit) as stopped:
        main([*given, *data])
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert told.startswith("eval: ") and told.count("\n") == 1 and said in told


def test_the_curve_over_steps_is_measured_where_it_is_asked_for(tiny_run, small_data, tmp_path):
    folder = tmp_path / "debug"
    shutil.copytree(tiny_run, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["eval.tasks.steps"], "STEPS", (1, 3))
        for sense, config in judge.SETTINGS.items():
            patch.setitem(judge.SETTINGS, sense, dataclasses.replace(config, steps=2))
        main([str(folder), "steps", "--data", str(small_data), "--limit", "3"])
    results = json.loads((folder / "results.json").read_text())["results"]
    wanted = {f"test/steps/text->{s}/judged@{n}" for s in ("image", "audio") for n in (1, 3)}
    assert {*results} == wanted and all(NAME.fullmatch(name) for name in results)


def test_a_run_that_measures_itself_has_the_figures_of_the_program(run, small_data):
    config = Config(evaluate=EvaluateConfig(tasks=("caption",), data=str(small_data), limit=4))
    told = evaluate(run, 100, config)
    folder = run / "evaluations/step-000100"
    written = json.loads((folder / "results.json").read_text())
    assert written["meta"]["step"] == 100 and (folder / "report.html").exists()
    assert {*told} == {
        f"{s}/caption/image->text/{m}" for s in ("test", "new") for m in ("exact", "CER")
    }
    assert all(written["results"][name]["value"] == value for name, value in told.items())
    (folder / "output.txt").unlink()
    assert evaluate(run, 100, config) == told and not (folder / "output.txt").exists()
