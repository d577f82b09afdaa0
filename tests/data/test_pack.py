"""Packing: the same samples from any source, in safe form."""

import gc
import json
from pathlib import Path

import pytest
import webdataset

import data.recipes
from data.prepare.media import Form
from data.prepare.plan import PROBE, Keys, measure, safe_split
from data.prepare.sources import Folder
from data.record import Record, Rejection
from tests.data.corpora import (
    SAMPLES,
    SENSES,
    SOURCES,
    contents,
    members,
    pack,
    picture,
    write_folder,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("source") / "folder")


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed")
    assert pack(folder, out) == 0
    return out


@pytest.mark.parametrize("kind", SOURCES)
def test_any_source_gives_the_same_members(kind, packed, tmp_path, capsys):
    assert pack(SOURCES[kind](tmp_path), tmp_path / "out") == 0
    assert members(tmp_path / "out") == members(packed)
    assert ("passed over: 12 x .npy" in capsys.readouterr().err) == ("tar" in kind)


def test_any_sense_may_be_missing_and_the_json_is_last(packed):
    found = list(members(packed).values())
    assert list(members(packed)) == [f"s{i:02d}" for i in range(12)]
    names = {"image": "jpg", "audio": "flac", "text": "txt"}
    expected = [[*(names[s] for s in senses), "json"] for senses in SENSES]
    assert [list(sample) for sample in found] == expected
    assert json.loads(found[3]["json"]) == {
        "v": 1, "id": "S03", "language": "zh", "captions": ["红色的自行车"], "colour": "c3",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_reads_the_result(packed):
    urls = [str(tar) for tar in sorted(packed.glob("*.tar"))]
    assert len(urls) == 3
    found = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in found] == [f"s{i:02d}" for i in range(12)]
    assert found[0]["txt"] == b'a "red" bicycle, 0'
    gc.collect()  # it leaves files open, which must not be told of in another test


def test_packed_shards_packed_again_are_the_same(packed, tmp_path):
    assert pack(packed, tmp_path) == 0
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.tar")} == {
        p.name: p.read_bytes() for p in packed.glob("*.tar")
    }


def test_keys_are_safe_and_unique():
    keys = Keys()
    long = "x" * 200
    given = ["a", "A", "a", "a-2", "Dogs/1.jpg", "红", "绿", "", long + "1", long + "2"]
    made = [keys.make(key) for key in given]
    assert made[:5] == ["a", "a-2", "a-3", "a-2-2", "dogs-1-jpg"]
    assert len(set(made)) == len(given)
    assert all(set(key) <= set("0123456789abcdefghijklmnopqrstuvwxyz_-") for key in made)
    assert max(map(len, made)) <= 80
    assert [Keys().make(key) for key in given[5:]] == made[5:]


def test_a_split_has_a_safe_name():
    assert safe_split("train-clean.100") == "train_clean_100"
    with pytest.raises(ValueError, match="letters"):
        safe_split("--")


def test_rows_go_to_the_splits_that_they_name(tmp_path):
    lines = [{"text": f"t{i}", "split": ["train", "val-a"][i % 2], "n": i} for i in range(5)]
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert pack(table, tmp_path / "out", "--shard-samples", 2) == 0
    found = sorted(tar.name for tar in (tmp_path / "out").glob("*.tar"))
    assert found == ["train-000000.tar", "train-000001.tar", "val_a-000000.tar"]
    assert list(members(tmp_path / "out")) == [f"0000000{i}" for i in (1, 3, 5, 2, 4)]
    manifest = json.loads((tmp_path / "out/dataset.json").read_text("utf-8"))
    assert [shard["samples"] for shard in manifest["shards"]] == [2, 1, 2]


def test_two_splits_are_packed_into_one_folder_one_after_the_other(folder, tmp_path):
    assert pack(folder, tmp_path, "--shard-samples", 5) == 0
    train = contents(tmp_path)
    few = write_folder(tmp_path / "few", dict(list(SAMPLES.items())[:2]))
    assert pack(few, tmp_path, "--shard-samples", 2, "--split", "test") == 0
    manifest = json.loads((tmp_path / "dataset.json").read_text("utf-8"))
    assert [shard["name"][:-11] for shard in manifest["shards"]] == ["test", *["train"] * 3]
    same = [name for name, data in train.items() if contents(tmp_path).get(name) == data]
    assert set(train) - set(same) == {"dataset.json", "pack.json"}


def test_a_known_data_set_is_read_by_its_recipe(tmp_path, monkeypatch, capsys):
    def read(root: Path):
        yield Record("one", texts=(root.name, "two"), split="dev", meta={"fold": 3})

    monkeypatch.setitem(data.recipes.RECIPES, "mine", read)
    assert pack("copy", tmp_path, "--recipe", "mine") == 0
    (found,) = members(tmp_path).values()
    assert found["txt"] == b"copy"
    assert json.loads(found["json"])["captions"] == ["copy", "two"]
    assert (tmp_path / "dev-000000.tar").exists()
    assert pack("copy", tmp_path / "b", "--recipe", "nobodys") == 2
    assert "esc50" in capsys.readouterr().err
    assert pack("copy", tmp_path / "b", "--recipe", "mine", "--split", "train") == 2


def test_what_cannot_be_decoded_is_listed_and_the_rest_is_packed(tmp_path, capsys):
    source = write_folder(tmp_path / "source")
    (source / "S00.png").write_bytes(b"GIF8 broken")
    (source / "S03.txt").write_bytes(b"\xff\xfe")
    (source / "S06.json").write_bytes(b"[1]")
    (source / "notes.docx").write_bytes(b"")
    (source / "Thumbs.db").write_bytes(b"")
    (source / "._S01.png").write_bytes(b"\0\5\x16\7")
    assert pack(source, tmp_path / "out") == 0
    lines = (tmp_path / "out/rejected.jsonl").read_text("utf-8").splitlines()
    listed = [json.loads(line) for line in lines]
    assert [(line["key"], line["member"]) for line in listed] == [
        ("S00", "image"),
        ("S03", "text"),
        ("S06", "json"),
    ]
    assert [line["sample"] for line in listed] == ["s00", "s03", None]
    packed = members(tmp_path / "out")
    assert len(packed) == 11
    assert [*packed["s00"]] == ["flac", "txt", "json"]
    assert [*packed["s03"]] == ["flac", "json"]
    shown = capsys.readouterr()
    assert "11 samples in 3 shards, 1 rejected, 2 without a damaged part" in shown.out
    assert "passed over: 1 x .docx" in shown.err
    assert ".db" not in shown.err


def test_more_than_half_rejected_is_an_error(tmp_path, capsys):
    source = write_folder(tmp_path / "source")
    for key in list(SAMPLES)[:7]:
        (source / f"{key}.json").write_bytes(b"[1]")
    assert pack(source, tmp_path / "out") == 2
    assert "1 of 12 samples were rejected and 6 damaged in part" in capsys.readouterr().err
    assert len((tmp_path / "out/rejected.jsonl").read_text("utf-8").splitlines()) == 7
    (source / "S00.json").write_bytes(b"")  # absent, not damaged; half is not more than half
    assert pack(source, tmp_path / "out") == 0


def test_several_splits_are_not_mixed(tmp_path, capsys):
    for name in ("train-0", "train-1-of-2", "cc3m_val_000"):
        (tmp_path / f"{name}.tar").write_bytes(b"")
    assert pack(tmp_path, tmp_path.with_suffix(".out")) == 2
    assert "several splits: cc3m_val, train; pack one" in capsys.readouterr().err


def test_the_output_cannot_lie_in_the_source(folder, capsys):
    assert pack(folder, folder / "shards") == 2
    assert "within the source" in capsys.readouterr().err
    assert not (folder / "shards").exists()


def test_two_files_for_one_sense_are_refused(tmp_path):
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).write_bytes(picture(8, 8))
    with pytest.raises(ValueError, match=r"two files for its image: .*a\.jpg, .*a\.png"):
        Folder(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n", "one of the columns image"),
        ("t.csv", "text,b\n1\n", "line 2 must have 2 fields"),
        ("t.csv", 'text,b\n"1,2\n', "unexpected end"),
        ("t.tsv", "text\n1\t2\n", "line 2 must have 1 fields"),
        ("t.jsonl", '{"text": "a"}\n{"text"\n', "line 2"),
        ("t.jsonl", "[1]\n", "line 1 must be an object"),
        ("t.parquet", "no parquet", "t.parquet"),
        ("t.xlsx", "", "must be a folder, or files that end in"),
        ("t.csv", "text\n", "holds no samples"),
    ],
)
def test_a_table_that_is_not_as_it_must_be_is_refused(name, text, message, tmp_path, capsys):
    (tmp_path / name).write_text(text, "utf-8")
    assert pack(tmp_path / name, tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_rows_that_cannot_be_samples_are_rejected(tmp_path):
    table = tmp_path / "t.jsonl"
    table.write_text(
        '{"key": "a", "image": 3}\n{"key": "b", "text": "b", "start": "x"}\n'
        '{"key": "c", "text": "c"}\n{"key": "d", "captions": ["d", "e"], "n": [1, null]}\n'
    )
    assert pack(table, tmp_path / "out") == 0
    assert list(members(tmp_path / "out")) == ["c", "d"]
    assert json.loads(members(tmp_path / "out")["d"]["json"])["captions"] == ["d", "e"]


def test_a_shard_is_about_as_large_as_asked_for():
    records = [Record(str(i), texts=("x" * 1_000,)) for i in range(PROBE)]
    assert measure([*records, Rejection("r", "json", "damaged")], Form(), 1 << 20) == 682
    given = [Record(str(i), image=picture(400, 400, "BMP")) for i in range(2)]
    assert measure(given, Form(), 10 << 20) == (10 << 20) // len(picture(400, 400, "BMP"))
    with pytest.raises(ValueError, match="'r', json: damaged"):
        measure([Rejection("r", "json", "damaged")], Form(), 1 << 20)


def test_a_shard_of_which_nothing_is_left_is_no_file(tmp_path):
    source = write_folder(tmp_path / "source")
    for key in list(SAMPLES)[2:4]:
        for file in source.glob(f"{key}.*"):
            file.write_bytes(b"")
    assert pack(source, tmp_path / "out", "--shard-samples", 2) == 0
    names = [tar.name for tar in sorted((tmp_path / "out").glob("*.tar"))]
    assert names == [f"train-00000{i}.tar" for i in (0, 2, 3, 4, 5)]
    before = contents(tmp_path / "out")
    assert pack(source, tmp_path / "out", "--shard-samples", 2) == 0
    assert contents(tmp_path / "out") == before
