"""The recipe of MUGE on miniatures of its three tasks, in both dialects and both alphabets."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data.recipes import muge
from data.record import Record

PICTURE = bytes(range(256)) + b"\xfb\xff\xbe"  # every byte, and + and / in base64
ALPHABETS = {"standard": base64.b64encode, "url-safe": base64.urlsafe_b64encode}


def table(path: Path, rows: dict[str, str]) -> None:
    path.write_text("".join(f"{first}\t{second}\n" for first, second in rows.items()), "utf-8")


def pictures(path: Path, *ids: object, encode: Callable = base64.b64encode) -> dict[str, bytes]:
    """Write a tsv of pictures that all differ."""
    contents = {str(image_id): PICTURE + str(image_id).encode() for image_id in ids}
    table(path, {image_id: encode(data).decode() for image_id, data in contents.items()})
    return contents


def lines(path: Path, *entries: dict) -> None:
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    path.write_text(text, "utf-8")


def record(task: str, split: str, image_id: str, image: bytes, *texts: str, **meta) -> Record:
    ours = int(image_id) if task == "MR" else image_id
    meta = {"task": task, "image_id": ours} | meta
    return Record(f"{task}-{image_id}", image, texts=texts, language="zh", split=split, meta=meta)


@pytest.mark.parametrize("encode", ALPHABETS.values(), ids=ALPHABETS)
def test_captions_are_read_in_both_alphabets(encode, tmp_path):
    first, second = "007c720f1d8c04104096aeece425b2d5", "00809abd7059eeb94888fa48d9b0a9d8"
    ten = [f"蕾丝裙{n}" for n in range(10)]
    for name in ("train", "valid"):
        lines(tmp_path / f"IC_{name}.jsonl", {"image_id": first, "text": ten})
        images = pictures(tmp_path / f"IC_{name}.tsv", first, encode=encode)
    lines(tmp_path / "IC_test.jsonl", {"image_id": second}, {"image_id": first, "text": ""})
    images |= pictures(tmp_path / "IC_test.tsv", second, first, encode=encode)
    assert list(muge.read(tmp_path)) == [
        record("IC", "train", first, images[first], *ten),
        record("IC", "val", first, images[first], *ten),
        record("IC", "test", second, images[second]),
        record("IC", "test", first, images[first]),
    ]


def test_the_alphabets_differ_in_the_file_and_not_in_the_bytes(tmp_path):
    written, read = [], []
    lines(tmp_path / "IC_train.jsonl", {"image_id": "a", "text": ["裙"]})
    for encode in (*ALPHABETS.values(), lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")):
        pictures(tmp_path / "IC_train.tsv", "a", encode=encode)
        written.append((tmp_path / "IC_train.tsv").read_bytes())
        read += [found.image for found in muge.read(tmp_path)]
    assert len(set(written)) == 3
    assert read == [PICTURE + b"a"] * 3


@pytest.mark.parametrize("kind", ["text", "txt"])
def test_prompts_of_the_test_are_samples_of_text_alone(kind, tmp_path):
    for name in ("train", "val", "test"):
        table(tmp_path / f"T2I_{name}.{kind}.tsv", {f"8cf9{name}": "纯棉短裤"})
    train = pictures(tmp_path / "T2I_train.img.tsv", "8cf9train")
    val = pictures(tmp_path / "T2I_val.img.tsv", "8cf9val", encode=base64.urlsafe_b64encode)
    assert list(muge.read(tmp_path)) == [
        record("T2I", "train", "8cf9train", train["8cf9train"], "纯棉短裤"),
        record("T2I", "val", "8cf9val", val["8cf9val"], "纯棉短裤"),
        record("T2I", "test", "8cf9test", None, "纯棉短裤"),
    ]


DIALECTS = {
    "original": ("MR_{}_queries.jsonl", "MR_{}_imgs.tsv", ("query_id", "query_text", "item_ids")),
    "chinese-clip": ("{}_texts.jsonl", "{}_imgs.tsv", ("text_id", "text", "image_ids")),
}


@pytest.mark.parametrize("hidden", [None, []], ids=["no field", "empty list"])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_queries_are_gathered_by_image_in_both_dialects(dialect, hidden, tmp_path):
    queries, gallery, fields = dialect

    def query(*values: object) -> dict:
        return dict(zip(fields, values, strict=False))

    train = query(8426, "松紧腰长裤", [42967, 517602]), query(8428, "托特包", [517602])
    lines(tmp_path / queries.format("train"), *train)
    lines(tmp_path / queries.format("valid"), query(9, "女衬衫", [1]))
    unlabelled = (352962, "帆布鞋女") if hidden is None else (352962, "帆布鞋女", hidden)
    lines(tmp_path / queries.format("test"), query(*unlabelled))
    images = pictures(tmp_path / gallery.format("train"), 517602, 42967, 7)
    images |= pictures(tmp_path / gallery.format("valid"), 1)
    images |= pictures(tmp_path / gallery.format("test"), 3)
    meta = {"task": "MR", "query_id": 352962}
    asked = Record("MR-query-352962", texts=("帆布鞋女",), language="zh", split="test", meta=meta)
    both = ("松紧腰长裤", "托特包")
    assert list(muge.read(tmp_path)) == [
        record("MR", "train", "517602", images["517602"], *both, query_ids=[8426, 8428]),
        record("MR", "train", "42967", images["42967"], "松紧腰长裤", query_ids=[8426]),
        record("MR", "train", "7", images["7"]),  # of the gallery, asked for by none
        record("MR", "val", "1", images["1"], "女衬衫", query_ids=[9]),
        asked,
        record("MR", "test", "3", images["3"]),
    ]


def test_an_image_that_has_no_row_is_skipped_and_reported(tmp_path):
    lines(
        tmp_path / "MR_valid_queries.jsonl",
        {"query_id": 1, "query_text": "裙"} | {"item_ids": [5, 6]},
    )
    images = pictures(tmp_path / "MR_valid_imgs.tsv", 5)
    with pytest.warns(UserWarning, match=r"muge: 1 of 2 media .* 1 of 2 samples .*_imgs\.tsv/6$"):
        found = list(muge.read(tmp_path))
    assert found == [record("MR", "val", "5", images["5"], "裙", query_ids=[1])]


def test_a_table_without_any_of_the_images_is_refused(tmp_path):
    lines(tmp_path / "IC_train.jsonl", {"image_id": "a", "text": ["裙"]})
    (tmp_path / "IC_train.tsv").touch()
    with pytest.raises(ValueError, match=r"none of 1 media is there.*IC_train\.tsv/a; .*https://"):
        list(muge.read(tmp_path))


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ("IC_train.jsonl", "IC_train.tsv"),
        ("T2I_val.text.tsv", "T2I_val.img.tsv"),
        ("MR_test_queries.jsonl", "MR_test_imgs.tsv"),
        ("train_texts.jsonl", "train_imgs.tsv"),
    ],
)
def test_a_missing_table_of_images_is_named(annotations, expected, tmp_path):
    (tmp_path / annotations).touch()
    with pytest.raises(ValueError, match=rf"/{expected} is missing; .*https://"):
        list(muge.read(tmp_path))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a\tAA**AA**", r"image a of .*IC_train\.tsv must be base64"),
        ("a\tAAAAA", r"image a of .*IC_train\.tsv must be base64"),
        ("a AAAA", r"line 1 of .*IC_train\.tsv must be two columns, got 'a AAAA'"),
    ],
)
def test_a_damaged_row_is_named(row, told, tmp_path):
    lines(tmp_path / "IC_train.jsonl", {"image_id": "a", "text": ["裙"]})
    (tmp_path / "IC_train.tsv").write_text(row)
    with pytest.raises(ValueError, match=told):
        list(muge.read(tmp_path))


def test_an_annotation_without_its_field_is_named(tmp_path):
    lines(tmp_path / "train_texts.jsonl", {"text_id": 1, "text": "裙"}, {"text_id": 2})
    with pytest.raises(ValueError, match=r"line 2 of .*train_texts\.jsonl .* lacks text"):
        list(muge.read(tmp_path))
