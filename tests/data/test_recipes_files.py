"""What recipes say of a copy that is incomplete or damaged."""

import pytest

from data.recipes import RECIPES, files
from data.record import Record
from tests.data.miniatures import write


def test_every_recipe_names_what_an_empty_folder_lacks(tmp_path):
    for recipe, read in RECIPES.items():
        with pytest.raises(ValueError, match=rf"{tmp_path}.*https://") as caught:
            list(read(tmp_path))
        assert ".json" in str(caught.value) or recipe not in ("coco", "muge", "vqav2")


@pytest.mark.parametrize(
    ("recipe", "name", "content", "told"),
    [
        ("coco", "annotations/captions_val2017.json", "{", "val2017.json must be captions"),
        ("coco", "annotations/captions_val2017.json", "[]", "val2017.json must be captions"),
        ("coco", "dataset_coco.json", "{", "dataset_coco.json must be JSON"),
        ("coco", "dataset_coco.json", "[]", "dataset_coco.json must be an object, got list"),
        ("coco", "dataset_coco.json", {}, "must have images; it lacks images"),
        ("coco", "dataset_coco.json", {"images": {}}, "images of .* must be a list, got dict"),
        ("coco", "dataset_coco.json", {"images": []}, "annotations of coco are empty"),
        ("coco", "dataset_coco.json", {"images": [{"split": "val"}]}, r"images\[0\] .* filename"),
        ("flickr30k", "results_20130124.token", "1.jpg#0 A cow\n", "lines of NAME#N"),
        ("esc50", "meta/esc50.csv", "filename,fold\na.wav,1\n", "line 2 of .* lacks target"),
        ("clotho", "clotho_captions_validation.csv", "file_name\n\xff\n", "line 2 of .* lacks"),
    ],
)
def test_a_damaged_annotation_is_told_with_its_file(recipe, name, content, told, tmp_path):
    write(tmp_path / name, content)
    with pytest.raises(ValueError, match=told):
        list(RECIPES[recipe](tmp_path))


def test_a_csv_in_another_encoding_is_refused(tmp_path):
    path = write(tmp_path / "meta/esc50.csv")
    path.write_bytes("filename\nmöwe.wav\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"esc50\.csv must be CSV in UTF-8"):
        list(RECIPES["esc50"](tmp_path))


def test_text_alone_is_kept_and_a_lost_medium_is_not_text(tmp_path):
    image, gone = write(tmp_path / "a.jpg"), tmp_path / "b.jpg"
    records = [
        Record("prompt", texts=("a cow",)),
        Record("whole", image, b"RIFF"),
        Record("mute", image, gone, ("a cow",)),
        Record("lost", gone, texts=("a cow",)),
    ]
    with pytest.warns(UserWarning, match=rf"2 of 5 .* 1 of 4 samples .* first is {gone}") as caught:
        kept = list(files.present(records, "name", "https://"))
    assert kept == [records[0], records[1], Record("mute", image, texts=("a cow",))]
    assert len(caught) == 1


def test_nothing_is_said_of_a_complete_copy(tmp_path, recwarn):
    records = [Record("a", write(tmp_path / "a.jpg"))]
    assert list(files.present(records, "name", "https://")) == records
    assert not recwarn
