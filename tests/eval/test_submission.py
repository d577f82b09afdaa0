"""MUGE's submissions: the official score on values worked out by hand, and what is refused."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from eval.submission import DIALECTS, judge, read_captions, read_pictures, read_ranked, read_truth
from tests.data.corpora import picture

TRUTH = {1: [11], 2: [22, 23], 3: [31], 4: [44, 45, 46]}
OTHERS = [900, 901, 902, 903, 904, 905, 906, 907, 908]


def ranked(at: int, right: int) -> list[int]:
    """Ten images, of which the right one has a place, counted from 0."""
    return [*OTHERS[:at], right, *OTHERS[at:]]


# Found at place 1; at 5, one of two; at 6; never, of three. Of four queries so many are right:
# one at 1, two at 5, three at 10: 25, 50 and 75 %, and the mean of the three is 50.
RANKED = {1: ranked(0, 11), 2: ranked(4, 23), 3: ranked(5, 31), 4: [*OTHERS, 909]}


def entries(images: dict[int, list[int]], dialect: str = "original") -> list[Any]:
    query, field = DIALECTS[dialect]
    return [{query: number, field: found} for number, found in images.items()]


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_score_is_the_mean_of_three_hit_rates(dialect: str, tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.jsonl", entries(TRUTH, dialect))
    prediction = written(tmp_path / "prediction.jsonl", entries(RANKED, dialect))
    told = {"score": 50.0, "mean_recall": 50.0, "r1": 25.0, "r5": 50.0, "r10": 75.0}
    assert judge(truth, prediction) == {"success": True, "score": 50.0, "scoreJson": told}


def test_queries_may_come_in_any_order_and_their_places_may_not(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.jsonl", entries(TRUTH))
    backwards = written(tmp_path / "backwards.jsonl", entries(RANKED)[::-1])
    assert judge(truth, backwards)["score"] == 50.0
    turned = {query: images[::-1] for query, images in RANKED.items()}
    # Backwards the places are 10, 6 and 5: none at 1, one at 5, three at 10; (0 + 25 + 75) / 3.
    result = judge(truth, written(tmp_path / "turned.jsonl", entries(turned)))
    assert [result["scoreJson"][name] for name in ("r1", "r5", "r10")] == [0.0, 25.0, 75.0]
    assert result["score"] == pytest.approx(100 / 3)


def test_a_truth_with_more_fields_is_read(tmp_path: Path) -> None:
    lines = [line | {"query_text": "纯棉碎花吊带裙"} for line in entries(TRUTH)]
    dialect, answers = read_truth(written(tmp_path / "truth.jsonl", lines))
    assert dialect == ("query_id", "item_ids")
    assert answers == {query: {*images} for query, images in TRUTH.items()}


def line(number: int, **changed: Any) -> list[Any]:
    """The good submission with fields of a line changed."""
    lines = entries(RANKED)
    lines[number - 1] |= changed
    return lines


BAD = {
    "a query that is no integer": (line(2, query_id="2"), "line 2 .*query_id must be an integer"),
    "a query that is true": (line(1, query_id=True), "line 1 .*must be an integer, got True"),
    "an image that is no integer": (
        line(3, item_ids=ranked(5, "31")),  # type: ignore[arg-type]
        "line 3 .*item_ids must be integers, got '31'",
    ),
    "an image that is a fraction": (line(3, item_ids=ranked(5, 31.0)), "integers, got 31.0"),  # type: ignore[arg-type]
    "nine images": (line(4, item_ids=OTHERS), "line 4 .*query 4 must have 10 images, got 9"),
    "eleven images": (line(4, item_ids=[*RANKED[1], 910]), "must have 10 images, got 11"),
    "images that are no list": (line(1, item_ids=11), "line 1 .*must be a list, got 11"),
    "an image twice": (line(2, item_ids=[23, *OTHERS[:8], 23]), "line 2 .*must have 23 once"),
    "a missing field": ([*entries(RANKED)[:3], {"query_id": 4}], "line 4 .*lacks item_ids"),
    "another dialect": (entries(RANKED, "chinese-clip"), "line 1 .*lacks query_id"),
    "a missing query": (entries(RANKED)[:3], "1 of 4 are missing, the first is 4"),
    "an unknown query": ([*entries(RANKED), *entries({5: [*OTHERS, 1]})], "line 5 .* 5 is none"),
    "a query twice": ([*entries(RANKED), entries(RANKED)[1]], "line 5 .* 2 must come once"),
    "a line that is no object": ([[1, 2]], "line 1 .*must be an object, got list"),
}


@pytest.mark.parametrize(("lines", "told"), BAD.values(), ids=BAD)
def test_a_bad_submission_is_refused_with_the_line_and_the_reason(
    lines: list[Any], told: str, tmp_path: Path
) -> None:
    truth = written(tmp_path / "truth.jsonl", entries(TRUTH))
    prediction = written(tmp_path / "prediction.jsonl", lines)
    with pytest.raises(ValueError, match=told) as refused:
        read_ranked(prediction, TRUTH, DIALECTS["original"])
    reason = str(refused.value)
    assert judge(truth, prediction) == {
        "success": False,
        "score": 0,
        "scoreJson": {},
        "errorDetail": reason,
        "errorMsg": reason,
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "prediction.jsonl must not be empty"),
        (b'{"query_id": 1, ', "line 1 .*must be JSON"),
        (b"\n", "line 1 .*must be JSON"),  # the official script reads no blank line either
        (b"[" * 100_000, "line 1 .*must be JSON"),
        ('{"query_id": 1, "item_ids": "红裙"}'.encode("gb18030"), "line 1 .*must be UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    (path := tmp_path / "prediction.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        read_ranked(path, TRUTH, DIALECTS["original"])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([{"query_id": 1, "query_text": "裙"}], "line 1 .*lacks item_ids"),
        ([{"query_id": 1, "item_ids": []}], "line 1 .*item_ids of query 1 must not be empty"),
        (entries(TRUTH) + entries(TRUTH)[:1], "line 5 .*query 1 must come once"),
        ([], "truth.jsonl must not be empty"),
    ],
)
def test_a_truth_that_hides_its_answers_is_refused(
    lines: list[Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        read_truth(written(tmp_path / "truth.jsonl", lines))


def test_a_file_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.jsonl", entries(TRUTH))
    result = judge(truth, tmp_path / "none.jsonl")
    assert not result["success"] and "none.jsonl" in result["errorMsg"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([{"image_id": "a", "text": "裙"}, {"image_id": "b", "text": ""}], None),
        ([{"image_id": "a", "text": "裙"}], "1 of 2 are missing, the first is b"),
        ([{"image_id": "a", "text": "裙"}, {"image_id": "c", "text": ""}], "line 2 .* c is none"),
        ([{"image_id": "a", "text": "裙"}] * 2, "line 2 .* a must come once"),
        ([{"image_id": "a", "text": ["裙"]}], "line 1 .*must be strings"),
        ([{"image_id": 1, "text": "裙"}], "line 1 .*must be strings"),
    ],
)
def test_captions_are_one_an_image(lines: list[Any], told: str | None, tmp_path: Path) -> None:
    path = written(tmp_path / "captions.jsonl", lines)
    if told is None:
        assert read_captions(path, ["a", "b"]) == {"a": "裙", "b": ""}
    else:
        with pytest.raises(ValueError, match=told):
            read_captions(path, ["a", "b"])


def test_pictures_are_read_in_both_alphabets(tmp_path: Path) -> None:
    data = picture(40, 30)
    standard, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    assert standard != safe
    (path := tmp_path / "pictures.tsv").write_text(f"a\t{standard}\nb\t{safe}\n")
    assert read_pictures(path, ["a", "b"]) == {"a": data, "b": data}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a", "line 1 .*must be two columns, got 'a'"),
        ("a\tAA**", "line 1 .*a must be a picture"),
        ("a\t", "line 1 .*a must be a picture"),
        ("a\t" + base64.b64encode(b"no picture").decode(), "line 1 .*a must be a picture"),
        ("a\t" + base64.b64encode(picture(40, 30)[:-60]).decode(), "line 1 .*a must be a picture"),
        ("b\t" + base64.b64encode(picture(40, 30)).decode(), "line 1 .* b is none of the 1"),
    ],
)
def test_a_row_without_a_picture_is_refused(row: str, told: str, tmp_path: Path) -> None:
    (path := tmp_path / "pictures.tsv").write_text(f"{row}\n")
    with pytest.raises(ValueError, match=told):
        read_pictures(path, ["a"])
