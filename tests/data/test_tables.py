"""What a table or a json says is read where it is unambiguous, and otherwise refused or counted."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.prepare.fields import SHOWN, Census
from data.prepare.sources import open_source
from data.record import Record, Rejection
from tests.data.corpora import members, pack, picture, tone


def read(path: Path) -> list[Record | Rejection]:
    return list(open_source(str(path), None, None))


def texts(record: Record | Rejection) -> dict[str, list[str]]:
    """All texts by language."""
    assert isinstance(record, Record), record
    spoken = {record.language: [*record.texts]} if record.texts else {}
    return spoken | record.meta.get("names", {})


CELLS = {  # a field of a CSV under "text": its texts
    "plain": ("a dog", {"en": ["a dog"]}),
    "a list of JSON": ('"[""a"", ""b""]"', {"en": ["a", "b"]}),
    "a list as pandas writes it": ('"[\'a\', ""it\'s""]"', {"en": ["a", "it's"]}),
    "by language": ('"{""de"": ""Hund"", ""en"": [""dog""]}"', {"en": ["dog"], "de": ["Hund"]}),
    "a note in brackets": ("[laughs] yes", {"en": ["[laughs] yes"]}),
    "a number in brackets": ("[12]", {"en": ["[12]"]}),
    "brackets alone": ("[]", {"en": ["[]"]}),
    "a number": ("7", {"en": ["7"]}),
    "nothing": ("", {}),
    "white space around": ("  a dog ", {"en": ["a dog"]}),
    "a quoted field after a space": (' "a, b"', {"en": ["a, b"]}),
}


@pytest.mark.parametrize(("cell", "expected"), CELLS.values(), ids=CELLS)
def test_a_field_of_a_csv_is_read_as_what_it_is(cell, expected, tmp_path):
    (tmp_path / "t.csv").write_text(f"id,text\n1,{cell}\n", "utf-8")
    assert texts(read(tmp_path / "t.csv")[0]) == expected


HEADERS = ("text", " text", "text ", "Text", "\ufefftext", "CAPTION", " captions ", "transcription")


@pytest.mark.parametrize("header", HEADERS)
def test_white_space_and_capitals_of_a_header_do_not_count(header, tmp_path):
    (tmp_path / "t.csv").write_text(f"{header},n\na dog,1\n", "utf-8")
    assert texts(read(tmp_path / "t.csv")[0]) == {"en": ["a dog"]}
    (tmp_path / "t.tsv").write_text(f"n\t{header.strip(chr(0xFEFF))}\n1\ta dog\n", "utf-8")
    assert texts(read(tmp_path / "t.tsv")[0]) == {"en": ["a dog"]}


FIELDS = {  # of a JSON: texts, or what is wrong
    "a text": ({"text": "a"}, {"en": ["a"]}),
    "several": ({"captions": ["a", "b"]}, {"en": ["a", "b"]}),
    "two fields": ({"text": "a", "caption": "b"}, {"en": ["a", "b"]}),
    "a number": ({"text": 7}, {"en": ["7"]}),
    "numbers": ({"captions": [1, 2.5]}, {"en": ["1", "2.5"]}),
    "zero": ({"text": 0}, {"en": ["0"]}),
    "by language": (
        {"captions": {"en": ["a", "b"], "de": "c"}},
        {"en": ["a", "b"], "de": ["c"]},
    ),
    "by one other language": ({"caption": {"de": "c"}}, {"de": ["c"]}),
    "by language, with one named": (
        {"language": "de", "captions": {"en": "a", "de": "c"}},
        {"de": ["c"], "en": ["a"]},
    ),
    "by language beside names": (
        {"captions": {"en": "a", "fr": "d"}, "names": {"fr": "e"}},
        {"en": ["a"], "fr": ["e", "d"]},
    ),
    "nothing": ({"text": None, "key": "k"}, {}),
    "a list as a string": ({"text": '["a", "b"]'}, {"en": ['["a", "b"]']}),
    "no number": ({"text": float("nan")}, "'text' must be a string or several, got nan"),
    "a truth": ({"text": True}, "'text' must be a string or several, got bool"),
    "objects as of COCO": ({"captions": [{"caption": "a", "id": 1}]}, "got dict"),
    "an object as of Karpathy": ({"caption": {"raw sentence": "a"}}, "is no language"),
    "a language that is none": ({"text": "a", "language": 3}, "'language' must be a string"),
}


@pytest.mark.parametrize("door", ["table", "folder"])
@pytest.mark.parametrize(("fields", "expected"), FIELDS.values(), ids=FIELDS)
def test_texts_of_json_lines_and_of_json_files_are_read_alike(fields, expected, door, tmp_path):
    if door == "table":
        source = tmp_path / "t.jsonl"
        source.write_text(json.dumps({"text": "first"}) + "\n" + json.dumps(fields), "utf-8")
        found = read(source)[1]
        fault = found.reason if isinstance(found, Rejection) else ""
    else:
        source = tmp_path / "in"
        source.mkdir()
        (source / "a.json").write_text(json.dumps(fields), "utf-8")
        (source / "a.png").write_bytes(picture(8, 8))
        found = read(source)[0]
        assert isinstance(found, Record) and found.image
        fault = found.faults.get("json", "")
    if isinstance(expected, str):
        assert expected in fault
    else:
        assert texts(found) == expected
        assert fault == ""


def write_metadata(file: Path, rows: list[dict]) -> None:
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        file.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("column", ["file_name", "image_file_name", "File_Name "])
def test_metadata_of_an_imagefolder_is_read_from_the_folder_and_from_the_table(
    suffix, column, tmp_path
):
    (tmp_path / "sub").mkdir()
    names = ["a.png", "sub/b.png"]
    for name in names:
        (tmp_path / name).write_bytes(picture(8, 8))
    (tmp_path / "a.wav").write_bytes(tone(16_000))
    (tmp_path / "alone.png").write_bytes(picture(8, 8))
    (tmp_path / "alone.txt").write_text("a picture of its own")
    rows = [{column: name, "text": f"text of {name}", "n": 3} for name in names]
    write_metadata(tmp_path / f"metadata{suffix}", rows)
    of_table = read(tmp_path / f"metadata{suffix}")
    of_folder = read(tmp_path)
    for found in (of_table, of_folder):
        assert [record.image for record in found[:2]] == [tmp_path / name for name in names]
        assert [record.texts for record in found[:2]] == [(f"text of {n}",) for n in names]
        assert [str(record.meta["n"]) for record in found[:2]] == ["3", "3"]
    assert [record.key for record in of_folder] == ["a", "sub/b", "alone"]
    # The folder has the recording of the same name as well, and what no row names.
    assert of_folder[0].audio == tmp_path / "a.wav"
    assert of_folder[2].texts == ("a picture of its own",)
    assert len(of_table) == 2


def test_an_audiofolder_and_a_table_in_each_split(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.wav").write_bytes(tone(16_000))
        rows = [{"file_name": "a.wav", "transcription": f"said in {split}"}]
        write_metadata(tmp_path / split / "metadata.csv", rows)
    found = read(tmp_path)
    assert [(r.split, r.audio, r.texts) for r in found] == [
        ("train", tmp_path / "train/a.wav", ("said in train",)),
        ("val", tmp_path / "validation/a.wav", ("said in validation",)),
    ]


@pytest.mark.parametrize("at", ["folder", "table"])
def test_one_table_of_all_splits_names_them_by_its_files(at, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(picture(8, 8))
    rows = [{"file_name": f"{split}/a.png", "text": split} for split in ("train", "test")]
    write_metadata(tmp_path / "metadata.jsonl", rows)
    found = read(tmp_path if at == "folder" else tmp_path / "metadata.jsonl")
    assert [(r.split, r.texts) for r in found] == [("train", ("train",)), ("test", ("test",))]


def test_both_media_of_a_row_are_taken_and_what_cannot_be_is_refused(tmp_path):
    rows = [
        {"image_file_name": "a.png", "audio_file_name": "b.wav", "text": "both"},
        {"file_name": "a.mp9", "text": "unknown ending"},
        {"a_file_name": "a.png", "b_file_name": "b.png", "text": "two pictures"},
        {"image": "a.png", "file_name": "old.png", "text": "a name alone"},
    ]
    write_metadata(tmp_path / "t.jsonl", rows)
    both, unknown, two, name = read(tmp_path / "t.jsonl")
    assert (both.image, both.audio) == (tmp_path / "a.png", tmp_path / "b.wav")
    assert "must end in one of" in unknown.reason and "a.mp9" in unknown.reason
    assert "two files for its image: a.png, b.png" in two.reason
    assert (name.image, name.meta) == (tmp_path / "a.png", {"file_name": "old.png"})


@pytest.mark.parametrize("header", ["text,text", "text, Text", "file_name,FILE_NAME "])
def test_columns_of_one_name_are_refused(header, tmp_path):
    (tmp_path / "t.csv").write_text(f"{header}\na,b\n", "utf-8")
    with pytest.raises(ValueError, match="names of columns must differ"):
        read(tmp_path / "t.csv")


def test_pack_says_what_became_of_each_column(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for i in range(3):
        (source / f"{i}.png").write_bytes(picture(8, 8))
    rows = [{"file_name": f"{i}.png", "Text": f"t {i}", "label": i + 1} for i in range(3)]
    write_metadata(source / "metadata.csv", rows)
    (source / "labels.csv").write_text("a,b\n")
    assert pack(source, out) == 0
    shown = capsys.readouterr()
    table = [line.split(maxsplit=1) for line in shown.out.splitlines()]
    rest = {name: " ".join(use.split()) for name, use in table}
    assert rest["field"] == "used as samples"
    assert rest["file_name"] == "image 3"
    assert rest["text"] == "text 3"
    assert rest["label"] == "in the json, where training does not read it 3"
    assert "passed over: 1 x .csv (a table: pack it by itself)" in shown.err
    assert all({"jpg", "txt"} <= {*files} for files in members(out).values())


def test_a_file_that_a_row_names_and_is_not_there_costs_no_text(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.png").write_bytes(picture(8, 8))
    rows = [{"file_name": f"{name}.png", "text": name} for name in "aab"]
    write_metadata(source / "metadata.csv", rows)
    assert pack(source, out) == 0
    assert [{*files} for files in members(out).values()] == [
        {"jpg", "txt"},
        {"jpg", "txt", "json"},
        {"txt"},
    ]
    assert "no such file" in (out / "rejected.jsonl").read_text()
    assert "1 without a damaged part" in capsys.readouterr().out
    # Where most are missing, the folder is not the one that the table means.
    (source / "a.png").unlink()
    assert pack(source, tmp_path / "other") == 2


def test_the_table_of_fields_has_an_end():
    census = Census()
    for i in range(SHOWN + 5):
        census.add(f"f{i}", "text")
    assert len(census.lines()) == 1 + SHOWN + 1
    assert census.lines()[-1] == "... and 5 other fields"
