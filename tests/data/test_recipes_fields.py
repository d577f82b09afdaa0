"""A copy whose annotations lack a field is refused, with the file and the field."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.recipes import RECIPES
from tests.data import picture_miniatures as pictures
from tests.data import sound_miniatures as sounds
from tests.data.miniatures import write
from tests.data.test_recipes_muge import lines
from tests.data.test_recipes_muge import pictures as table

KARPATHY = ("images", "filename", "split", "sentids", "sentences", "raw")
FIELDS: list[tuple[str, Callable, str, tuple[str, ...]]] = [
    (
        "audiocaps",
        sounds.audiocaps,
        "test.csv",
        ("audiocap_id", "youtube_id", "start_time", "caption"),
    ),
    (
        "clotho",
        sounds.clotho,
        "clotho_captions_evaluation.csv",
        ("file_name", "caption_1", "caption_5"),
    ),
    ("esc50", sounds.esc50, "meta/esc50.csv", ("filename", "fold", "target", "category", "esc10")),
    (
        "localized_narratives",
        sounds.localized_narratives,
        "open_images_test_localized_narratives.jsonl",
        ("dataset_id", "image_id", "annotator_id", "caption", "voice_recording"),
    ),
    (
        "spokencoco",
        sounds.spokencoco,
        "SpokenCOCO_val.json",
        ("data", "image", "captions", "text", "speaker", "uttid", "wav"),
    ),
    (
        "coco",
        pictures.coco_2017,
        "annotations/captions_val2017.json",
        ("images", "annotations", "file_name", "caption", "id", "image_id"),
    ),
    ("coco", pictures.coco_karpathy, "dataset_coco.json", (*KARPATHY, "filepath", "cocoid")),
    ("flickr30k", pictures.flickr30k_karpathy, "dataset_flickr30k.json", KARPATHY),
    (
        "vqav2",
        pictures.vqav2,
        "v2_OpenEnded_mscoco_val2014_questions.json",
        ("questions", "question_id", "image_id", "question"),
    ),
    (
        "vqav2",
        pictures.vqav2,
        "v2_mscoco_val2014_annotations.json",
        ("annotations", "question_id", "answers", "answer", "multiple_choice_answer"),
    ),
]
CASES = [(*case[:3], field) for case in FIELDS for field in case[3]]


def without(content: Any, field: str) -> Any:
    """JSON with no such field anywhere."""
    if isinstance(content, dict):
        return {k: without(v, field) for k, v in content.items() if k != field}
    return [without(v, field) for v in content] if isinstance(content, list) else content


def remove(path: Path, field: str) -> None:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = [*csv.DictReader(file)]
        kept = [name for name in rows[0] if name != field]
        write(path, [kept, *([row[name] for name in kept] for row in rows)])
    elif path.suffix == ".jsonl":
        told = [json.loads(line) for line in path.read_text().splitlines()]
        write(path, "".join(json.dumps(without(one, field)) + "\n" for one in told))
    else:
        write(path, without(json.loads(path.read_text()), field))


@pytest.mark.parametrize(
    ("recipe", "build", "name", "field"),
    CASES,
    ids=[f"{Path(name).name}-{field}" for _, _, name, field in CASES],
)
def test_a_field_that_is_missing_is_named_with_its_file(recipe, build, name, field, tmp_path):
    assert [*build(tmp_path)]
    remove(tmp_path / name, field)
    with pytest.raises(ValueError, match=rf"\b{field}\b") as caught:
        [*RECIPES[recipe](tmp_path)]
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "entry", "field"),
    [
        ("IC_valid", {"image_id": "a", "text": ["裙"]}, "image_id"),
        ("MR_valid_queries", {"query_id": 1, "query_text": "裙", "item_ids": [2]}, "query_id"),
        ("MR_valid_queries", {"query_id": 1, "query_text": "裙", "item_ids": [2]}, "query_text"),
        ("valid_texts", {"text_id": 1, "text": "裙", "image_ids": [2]}, "text_id"),
        ("valid_texts", {"text_id": 1, "text": "裙", "image_ids": [2]}, "text"),
    ],
)
def test_a_field_that_muge_lacks_is_named_with_its_file(name, entry, field, tmp_path):
    stem = name.removesuffix("_queries").removesuffix("_texts")
    table(tmp_path / (f"{name}.tsv" if stem == name else f"{stem}_imgs.tsv"), 2)
    lines(tmp_path / f"{name}.jsonl", {k: v for k, v in entry.items() if k != field})
    with pytest.raises(ValueError, match=rf"line 1 of .*{name}\.jsonl .*lacks {field}"):
        [*RECIPES["muge"](tmp_path)]


@pytest.mark.parametrize(
    ("recipe", "build", "name", "old", "field"),
    [
        ("esc50", sounds.esc50, "meta/esc50.csv", ",5,", "fold"),
        ("audiocaps", sounds.audiocaps, "test.csv", ",30,", "start_time"),
    ],
)
def test_a_column_that_is_no_number_is_named_with_its_line(
    recipe, build, name, old, field, tmp_path
):
    assert [*build(tmp_path)]
    path = tmp_path / name
    path.write_text(path.read_text().replace(old, ",five,"))
    with pytest.raises(ValueError, match=rf"{field} in line \d of .*{name} .*got 'five'"):
        [*RECIPES[recipe](tmp_path)]


def test_a_transcript_without_its_number_is_refused(tmp_path):
    assert [*sounds.librispeech(tmp_path)]
    (path,) = tmp_path.rglob("*.trans.txt")
    path.write_text("GO DO YOU HEAR\n")
    with pytest.raises(ValueError, match=r"dev-clean .* lacks a transcript"):
        [*RECIPES["librispeech"](tmp_path)]
