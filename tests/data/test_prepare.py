"""The command line of data.prepare: index and tokenizer, and what is said of mistakes."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from data.prepare.__main__ import COMMANDS, load, main
from data.prepare.index import index_tar
from omni.modality.text import Tokenizer
from omni.pipeline.dataset import Dataset
from omni.pipeline.index import Index
from omni.pipeline.writer import write_shard

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards of four texts each in two languages, indexed."""
    for number in range(3):
        samples = []
        for i in range(4):
            text = f"a red bicycle number {i} of shard {number}".encode()
            meta = {"language": "zh", "captions": [f"红色的自行车 {i}"]} if i == 0 else {}
            members = {"json": json.dumps(meta).encode()} if meta else {"txt": text}
            samples.append((f"s{number}{i}", members))
        write_shard(tmp_path / f"train-{number:06d}.tar", samples)
    return tmp_path


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["index", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"error: no tars at '{tmp_path / 'none'}'\n"


def test_the_command_line_starts_without_what_the_commands_need():
    code = "import sys, data.prepare.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_summary(name, capsys):
    assert (load(name).__doc__ or "").partition("\n")[0].endswith(".")
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"python -m data.prepare {name}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train"])
    assert stopped.value.code == 2
    assert "pack" in capsys.readouterr().err


def test_a_number_that_makes_no_sense_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["pack", str(tmp_path), str(tmp_path / "out"), "--size", "0"])
    assert "must be at least 1, got 0" in capsys.readouterr().err
    assert main(["pack", str(tmp_path), str(tmp_path / "out"), "--quality", "101"]) == 2
    assert not (tmp_path / "out").exists()


def test_index_builds_what_is_missing_and_keeps_what_is_right(shards, capsys):
    kept = shards / "train-000001.idx"
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    removed = (shards / "train-000000.idx").read_bytes()
    (shards / "train-000000.idx").unlink()
    (shards / "train-000002.idx").write_bytes(b"damaged")
    assert main(["index", str(shards)]) == 0
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before
    assert (shards / "train-000000.idx").read_bytes() == removed
    assert len(Index.load(shards / "train-000002.idx")) == 4
    assert "12 samples in 3 shards" in capsys.readouterr().out
    manifest = json.loads((shards / "dataset.json").read_text("utf-8"))
    assert [shard["samples"] for shard in manifest["shards"]] == [4, 4, 4]
    assert [s["languages"] for s in manifest["shards"]] == [{"en": 3, "zh": 1}] * 3


def test_index_names_damaged_tars_and_does_the_rest(shards, capsys):
    cut, changed = shards / "train-000000.tar", shards / "train-000001.tar"
    cut.write_bytes(cut.read_bytes()[:1_000])
    data = bytearray(changed.read_bytes())
    data[data.index(b"bicycle")] ^= 1  # the header is whole: only the index knows better
    changed.write_bytes(data)
    (shards / "train-000002.idx").unlink()
    assert main(["index", str(shards)]) == 2
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("damaged: ")]
    assert [line.split()[1] for line in lines] == [f"{cut}:", f"{changed}:"]
    assert "truncated" in lines[0]
    assert "not those indexed" in lines[1]
    manifest = json.loads((shards / "dataset.json").read_text("utf-8"))
    assert [shard["name"] for shard in manifest["shards"]] == ["train-000002.tar"]

    changed.with_suffix(".idx").unlink()  # the change was meant
    assert main(["index", str(changed)]) == 0
    manifest = json.loads((shards / "dataset.json").read_text("utf-8"))
    assert "train-000001.tar" in [shard["name"] for shard in manifest["shards"]]


def test_a_tar_that_was_written_anew_is_indexed_anew(shards):
    tar = shards / "train-000000.tar"
    write_shard(shards / "other.tar", [(f"x{i}", {"txt": b"x" * 5_000}) for i in range(9)])
    (shards / "other.tar").replace(tar)
    assert index_tar(tar, ()) == ""
    assert len(Index.load(tar.with_suffix(".idx"))) == 9


def test_other_extensions_are_passed_over_where_that_is_asked_for(tmp_path, capsys):
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name in ("a.txt", "a.cls"):
            (info := tarfile.TarInfo(name)).size = 1
            tar.addfile(info, io.BytesIO(b"1"))
    assert main(["index", str(tmp_path)]) == 2
    assert "cls" in capsys.readouterr().err
    assert main(["index", str(tmp_path), "--ignore", ".cls"]) == 0
    assert len(Dataset(str(tmp_path))) == 1


def test_a_tokenizer_is_trained_on_all_texts_and_languages(shards, capsys):
    assert main(["tokenizer", str(shards), "--vocab-size", "300"]) == 0
    assert "tokenizer.json: 300 tokens, en, zh" in capsys.readouterr().out
    tokenizer = Tokenizer.load(shards / "tokenizer.json")
    assert sorted(tokenizer.languages) == ["en", "zh"]
    texts = [f"a red bicycle number {i} of shard {n}" for n in range(3) for i in range(1, 4)]
    texts = [t for n in range(3) for t in ["红色的自行车 0", *texts[3 * n : 3 * n + 3]]]
    expected = Tokenizer.train(texts, ["en", "zh"], 300)
    assert tokenizer.fast.to_str() == expected.fast.to_str()
    for text in ("a red bicycle", "红色的自行车"):
        assert tokenizer.decode(tokenizer.encode(text, 99)) == text


def test_a_tokenizer_is_written_where_it_is_wanted(shards, tmp_path):
    out = tmp_path / "elsewhere.json"
    assert main(["tokenizer", str(shards), "--vocab-size", "270", "--out", str(out)]) == 0
    assert Tokenizer.load(out).vocab_size == 270
    assert not (shards / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vocab-size", "259"], "at least 260 for 2 languages, or 0 for letters, got 259"),
        (["--vocab-size", "300", "--split", "test"], "splits there: train"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_refused(options, message, shards, capsys):
    assert main(["tokenizer", str(shards), *options]) == 2
    assert message in capsys.readouterr().err


def test_no_texts_are_no_tokenizer(tmp_path, capsys):
    write_shard(tmp_path / "train-000000.tar", [("a", {"wav": b"RIFF"})])
    assert main(["tokenizer", str(tmp_path), "--vocab-size", "300"]) == 2
    assert "no sample of" in capsys.readouterr().err


def test_damaged_texts_are_counted(shards, capsys):
    tar = shards / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"bicycle")] ^= 1
    tar.write_bytes(data)
    assert main(["tokenizer", str(shards), "--vocab-size", "300"]) == 0
    assert "1 samples passed over" in capsys.readouterr().err
