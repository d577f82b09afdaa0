"""Folders: which split, which links, which name of one source."""

import json
import os
from pathlib import Path

import pytest

from data.prepare.sources import open_source
from data.prepare.splits import split_name
from tests.data.corpora import pack, picture, write_tar

NAMES = {
    "train": "train", "Training": "train", "train2017": "train", "train_01": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "val2014": "val",
    "test": "test", "TEST": "test", "test-2": "test", "test-00000-of-00003": "test",
    "trains": None, "test tube": None, "traintest": None, "devil": None, "1": None, "": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "split"), NAMES.items())
def test_a_split_is_known_by_its_name(name, split):
    assert split_name(name) == split


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(8, 8))
    return root


def splits(path: Path, split: str | None = None) -> dict[str, str]:
    return {record.key: record.split for record in open_source(str(path), None, split)}


def test_folders_named_as_splits_become_splits_unless_one_is_named(tmp_path, capsys):
    root = put(
        tmp_path / "in", "train/a.png", "train/dog/b.png", "bottle/test/c.png", "validation/d.png",
        "images/train2017/e.png", "dog/f.png",
    )  # fmt: skip
    assert splits(root) == {
        "train/a": "train", "train/dog/b": "train", "bottle/test/c": "test",
        "validation/d": "val", "images/train2017/e": "train", "dog/f": "train",
    }  # fmt: skip
    assert {*splits(root, "new").values()} == {"new"}
    assert splits(root / "validation") == {"d": "val"}, "also of the folder itself"
    assert pack(root, tmp_path / "out", "--shard-samples", 9) == 0
    made = sorted(tar.name for tar in (tmp_path / "out").glob("*.tar"))
    assert made == ["test-000000.tar", "train-000000.tar", "val-000000.tar"]
    assert "6 samples in 3 shards (test 1, train 4, val 1)" in capsys.readouterr().out


def test_tars_and_tables_named_as_splits_become_splits(tmp_path):
    for name in ("train-0.tar", "train-1.tar", "test-0.tar"):
        (tmp_path / "flat").mkdir(exist_ok=True)
        write_tar(tmp_path / "flat" / name, False)
    for name in ("train/0.tar", "dev/0.tar"):
        (tmp_path / "deep" / name).parent.mkdir(parents=True)
        write_tar(tmp_path / "deep" / name, False)
    for root, other in (("flat", "test"), ("deep", "val")):
        found = list(open_source(str(tmp_path / root), None, None))
        counts = {name: [r.split for r in found].count(name) for name in ("train", other)}
        assert counts == {"train": 24 if root == "flat" else 12, other: 12}
    with pytest.raises(ValueError, match="several splits: test, train; pack one"):
        open_source(str(tmp_path / "flat"), None, "new")
    (tmp_path / "test.csv").write_text("text\na\n")
    assert [r.split for r in open_source(str(tmp_path / "test.csv"), None, None)] == ["test"]


def test_linked_folders_are_followed_and_circles_are_not(tmp_path):
    root = put(tmp_path / "in", "a.png", "sub/b.png")
    far = put(tmp_path / "far", "c.png", "deep/d.png")
    (root / "link").symlink_to(far, target_is_directory=True)
    (root / "sub/up").symlink_to(root, target_is_directory=True)
    (far / "deep/back").symlink_to(root, target_is_directory=True)
    (root / "file.png").symlink_to(far / "c.png")
    assert [*splits(root)] == ["a", "file", "link/c", "link/deep/d", "sub/b"]
    (tmp_path / "whole").symlink_to(root, target_is_directory=True)
    assert [*splits(tmp_path / "whole")] == [*splits(root)]


def test_one_source_has_one_name(tmp_path, monkeypatch, capsys):
    root = put(tmp_path / "in", "a.png")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for name in ("in/", "in", "./in", "in/../in//", str(root), "link"):
        assert pack(name, tmp_path / "out") == 0, name
    # Control: another source is refused.
    put(tmp_path / "other", "a.png")
    assert pack("other", tmp_path / "out") == 2
    assert "was packed with source" in capsys.readouterr().err
    # A folder that an earlier version packed from a relative path.
    settings = json.loads((tmp_path / "out/pack.json").read_text())
    settings["splits"]["train"]["settings"]["source"] = "in/"
    (tmp_path / "out/pack.json").write_text(json.dumps(settings))
    assert pack(f"{root}{os.sep}", tmp_path / "out") == 0


def test_pack_takes_paths_as_they_are_written(tmp_path):
    root = put(tmp_path / "[v1] {a,b} set", "a.png")
    assert [*splits(root)] == ["a"]
    for name in ("[0].tar", "x0.tar", "x1.tar"):
        write_tar(root / name, False)
    patterns = {"[0].tar": 12, "x*.tar": 24, "x{0..1}.tar": 24, "x{0,1}.tar": 24, "x[01].tar": 24}
    for pattern, count in patterns.items():
        assert len(list(open_source(str(root / pattern), None, None))) == count, pattern
