"""Recipes of pictures and of recordings, on miniatures of the official releases.

Media are empty files, but where their headers are read: a recipe that decoded one would fail.
MUGE, whose media are rows of a table, has a file of its own.
"""

import json
import re
import sys

import pytest

from data.recipes import RECIPES
from tests.data import picture_miniatures, sound_miniatures
from tests.data.miniatures import media, write
from tests.data.picture_miniatures import coco_2014, coco_2017, coco_karpathy, vqav2

CASES = [*picture_miniatures.CASES, *sound_miniatures.CASES]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.build.__name__)


@each
def test_the_official_layout_is_read_whole(case, tmp_path):
    expected = list(case.build(tmp_path))
    records = list(RECIPES[case.recipe](tmp_path))
    assert records == expected
    assert all(path.is_file() for record in records for path in media(record))
    assert len({(record.split, record.key) for record in records}) == len(records)
    assert [json.loads(json.dumps(record.meta)) for record in records] == [
        record.meta for record in records
    ]


@each
def test_a_missing_annotation_file_is_named(case, tmp_path):
    assert list(case.build(tmp_path))
    removed = sorted(tmp_path.glob(case.annotations))
    for path in removed:
        path.unlink()
    with pytest.raises(ValueError, match=r"https://") as caught:
        list(RECIPES[case.recipe](tmp_path))
    assert removed[0].name.partition("-0")[0] in str(caught.value)


@each
def test_a_sample_without_media_is_skipped_and_reported(case, tmp_path):
    *expected, lost = case.build(tmp_path)
    for path in media(lost):
        path.unlink()
    told = f"{case.recipe}: {len(media(lost))} of .* missing, .* 1 of {len(expected) + 1} samples"
    with pytest.warns(UserWarning, match=f"{told}.*/{re.escape(media(lost)[0].name)}"):
        assert list(RECIPES[case.recipe](tmp_path)) == expected


@each
def test_a_copy_without_any_media_is_refused(case, tmp_path):
    records = list(case.build(tmp_path))
    for path in {path for record in records for path in media(record)}:
        path.unlink()
    with pytest.raises(ValueError, match=r"none of \d+ media is there, the first is .*https://"):
        list(RECIPES[case.recipe](tmp_path))


def test_the_split_of_karpathy_comes_first_and_then_2017(tmp_path):
    expected = {build: list(build(tmp_path)) for build in (coco_2014, coco_2017, coco_karpathy)}
    assert list(RECIPES["coco"](tmp_path)) == expected[coco_karpathy]
    (tmp_path / "dataset_coco.json").unlink()
    assert list(RECIPES["coco"](tmp_path)) == expected[coco_2017]


def test_one_split_alone_is_read(tmp_path):
    expected = [record for record in coco_2017(tmp_path) if record.split == "val"]
    (tmp_path / "annotations/captions_train2017.json").unlink()
    assert list(RECIPES["coco"](tmp_path)) == expected


def test_without_pycocotools_the_command_to_install_it_is_told(tmp_path, monkeypatch):
    assert list(coco_2017(tmp_path))
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ValueError, match="pip install pycocotools"):
        list(RECIPES["coco"](tmp_path))


def test_reading_coco_prints_nothing(tmp_path, capsys):
    assert list(coco_2017(tmp_path)) == list(RECIPES["coco"](tmp_path))
    assert capsys.readouterr().out == ""


def test_a_question_without_answers_is_named(tmp_path):
    assert list(vqav2(tmp_path))
    write(tmp_path / "v2_mscoco_val2014_annotations.json", {"annotations": []})
    with pytest.raises(ValueError, match=r"question 262148000 of .*val2014_questions.json"):
        list(RECIPES["vqav2"](tmp_path))
