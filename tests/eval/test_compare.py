"""What was measured alike is compared; what was not is refused by field and both values."""

import copy
import json
from pathlib import Path

import pytest

from eval.compare import main

META = {
    "model": "runs/one",
    "weights": "1" * 64,
    "commit": "a",
    "data": "d" * 64,
    "interval": "95 %",
    "protocols": {
        "caption": {"normalizer": "lower case", "decoding": {"candidates": 4}},
        "draw": {"limit": 256, "judge": "j", "judge_real": {"test": 0.9}},
        "classify": {"templates": ["a {}"]},
        "retrieval": {},
    },
}
NAMES = {
    "caption": "test/caption/image->text/exact",
    "draw": "test/draw/text->image/judged",
    "classify": "test/classify/image->class/zero_shot@1",
    "retrieval": "new/retrieval/noisy audio->text/R@1",
}


def score(task: str, value: float = 0.5) -> dict:
    told = {"protocol": "white noise at 0 dB SNR"} if task == "retrieval" else {}
    interval = {"low": value - 0.05, "high": value + 0.05}
    return {"value": value, **interval, "n": 100, "gallery": 10, "seed": 0, "task": task, **told}


def results(value: float = 0.5) -> dict:
    return {
        "meta": copy.deepcopy(META),
        "results": {name: score(task, value) for task, name in NAMES.items()},
    }


def compare(folder: Path, *contents: dict) -> int:
    """The exit code."""
    paths = [folder / f"{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(json.dumps(content))
    try:
        main([*map(str, paths)])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_other_models_are_compared_with_a_word_on_their_intervals(tmp_path, capsys):
    one, two, three = results(), results(0.58), results(0.3)
    two["meta"] |= {"model": "runs/two", "weights": "2" * 64, "commit": "b", "time": "later"}
    three["results"].pop(NAMES["draw"])
    assert compare(tmp_path, one, two, three) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(NAMES) and len({line.count("|") for line in lines}) == 1
    assert "runs/two (22222222)" in lines[0]
    (row,) = (line for line in lines if NAMES["caption"] in line)
    assert "| +8.0 | intervals overlap |" in row and "| −20.0 | intervals apart |" in row
    (row,) = (line for line in lines if NAMES["draw"] in line)
    assert row.endswith("|  |  |  |")


CHANGES = {
    "data": (None, "data", "e" * 64),
    "normalizer": ("caption", "normalizer", "none"),
    "decoding": ("caption", "decoding", {"candidates": 1}),
    "limit": ("draw", "limit", 512),
    "judge": ("draw", "judge", "k"),
    "templates": ("classify", "templates", ["{}", "a {}"]),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_protocol_that_differs_is_refused_and_the_others_are_compared(field, tmp_path, capsys):
    one, two = results(), results(0.6)
    task, key, value = CHANGES[field]
    (two["meta"]["protocols"][task] if task else two["meta"])[key] = value
    assert compare(tmp_path, one, two) == 1
    table, _, refused = capsys.readouterr().out.partition("Refused:")
    assert table.count("refused") == (1 if task else len(NAMES))
    assert f"{field}: " in refused and " ≠ " in refused
    assert NAMES[task or "caption"] in refused
    assert (NAMES["retrieval"] in refused) == (task is None)
    assert table.count("+10.0") == (len(NAMES) - 1 if task else 0)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("n", 50, "n: 100 ≠ 50"),
        ("gallery", 20, "gallery: 10 ≠ 20"),
        ("seed", 1, "seed: 0 ≠ 1"),
        ("protocol", "white noise at 5 dB SNR", "at 0 dB SNR ≠ white noise at 5 dB SNR"),
    ],
)
def test_a_figure_that_differs_alone_is_refused_alone(field, value, said, tmp_path, capsys):
    one, two = results(), results()
    two["results"][NAMES["retrieval"]][field] = value
    assert compare(tmp_path, one, two) == 1
    told = capsys.readouterr().out
    assert said in told and told.count("| refused |") == 1 and NAMES["draw"] not in told[-200:]


def test_a_condition_that_only_one_has_is_refused(tmp_path, capsys):
    one, two = results(), results()
    del two["results"][NAMES["retrieval"]]["protocol"]
    assert compare(tmp_path, one, two) == 1
    assert "condition: white noise at 0 dB SNR ≠ nothing" in capsys.readouterr().out


def test_what_the_judge_scores_is_told_and_not_compared(tmp_path):
    one, two = results(), results()
    two["meta"]["protocols"]["draw"]["judge_real"] = {"test": 0.8}
    assert compare(tmp_path, one, two) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "must hold meta and results"),
        ({"meta": {}, "results": {}}, "meta has no data"),
        ({"meta": META, "results": {"a/b": {"value": 1}}}, "a/b must name its task"),
        ({"meta": META, "results": {}}, "no figure that another has"),
    ],
)
def test_a_file_that_cannot_be_compared_is_told_in_one_line(content, said, tmp_path, capsys):
    assert compare(tmp_path, results(), content) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
