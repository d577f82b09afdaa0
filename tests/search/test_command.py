"""omni index on a user's own folder, and on shards."""

import json
import os
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from omni.__main__ import main
from omni.items import read, to_picture
from omni.pipeline.synthetic import make_samples
from omni.search import Index, reading
from omni.search.reading import look

Omni = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four things that have a picture, a recording and a name, and a damaged picture."""
    made = tmp_path / "things"
    (made / "below").mkdir(parents=True)
    complete = (s for s in make_samples("test", 40) if None not in (s.image, s.audio, s.text))
    for number, sample in enumerate(islice(complete, 4)):
        stem = made / ("below" if number % 2 else "") / f"thing-{number}"
        to_picture(sample.image).save(stem.with_suffix(".png"))
        sound = sample.audio.numpy().astype(np.float32) / 32768
        soundfile.write(stem.with_suffix(".wav"), sound, 16_000)
        stem.with_suffix(".txt").write_text(sample.text)
    (made / "broken.png").write_bytes(b"no picture")
    return made


@pytest.fixture
def omni(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Omni:
    """Runs `omni index`: the exit code, what was printed, and what was wrong."""

    def run(action: str, *arguments: object) -> tuple[int, list[str], str]:
        words = [action, *map(str, arguments)]
        words += ["--model", str(tiny_run)] if action in ("build", "add", "search") else []
        monkeypatch.setattr(sys, "argv", ["omni", "index", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(str(ended.value.code)), told.out.splitlines(), told.err

    return run


def test_a_folder_is_searched_by_any_sense_and_by_several(omni, folder, tmp_path) -> None:
    index = tmp_path / "index"
    code, out, wrong = omni("build", index, folder)
    assert code == 2 and "broken.png" in wrong and wrong.count("\n") == 1
    assert out[-1] == "4 added, 4 items, 12 vectors"
    for ending, sense in (("png", "image"), ("wav", "audio"), ("txt", "text")):
        stem = folder / "below/thing-1"
        code, out, _ = omni("search", index, f"{stem}.{ending}", "-k", 2, "--senses", sense)
        hits = [json.loads(line) for line in out]
        assert code == 0 and len(hits) == 2
        assert (hits[0]["name"], hits[0]["sense"]) == (str(stem), sense)
        assert hits[0]["score"] == pytest.approx(1, abs=1e-3)
        assert hits[0]["meta"]["image"] == f"{stem}.png"
    together = omni("search", index, f"{stem}.png", f"{stem}.wav", "--together", "-k", 1)[1]
    assert len(together) == 1 and json.loads(together[0])["name"] == str(stem)
    text = json.loads(together[0])["meta"]["text"]
    kept = omni("search", index, "anything", "--where", f"text={text}")[1]
    assert {json.loads(line)["meta"]["text"] for line in kept} == {text}

    Image.new("RGB", (32, 32), "blue").save(folder / "thing-0.png")
    assert omni("add", index, folder)[1][-1] == "4 added, 4 items, 12 vectors"
    assert omni("delete", index, folder / "thing-0", "nobody")[1] == ["1 deleted, 3 left"]
    assert omni("optimize", index)[1] == ["not needed: there are too few vectors"]


def test_a_milvus_finds_what_a_folder_finds(omni, folder, tmp_path) -> None:
    pytest.importorskip("milvus_lite", reason="needs pymilvus[milvus-lite]")
    told = []
    for index in (tmp_path / "index", f"milvus:{tmp_path}/milvus.db"):
        built = omni("build", index, folder)[1][-1]
        code, out, _ = omni("search", index, folder / "thing-0.wav", "red", "-k", 3)
        assert code == 0 and len(out) == 6
        hits = [json.loads(line) for line in out]
        told.append((built, [(hit["name"], hit["sense"], hit["meta"]) for hit in hits]))
    assert told[0] == told[1]


def test_what_is_found_is_looked_at_again(omni, folder, tmp_path, tiny_model) -> None:
    index = tmp_path / "index"
    omni("build", index, folder)
    picture = folder / "thing-0.png"
    hits = [json.loads(line) for line in omni("search", index, picture, "--rerank", 4)[1]]
    texts = [hit["meta"]["text"] for hit in hits]
    cosines = [json.loads(line) for line in omni("search", index, picture)[1]]
    cosine = {hit["name"]: hit["score"] for hit in cosines}
    scores = torch.tensor([[cosine[hit["name"]] for hit in hits]])
    expected = tiny_model.rerank([read(picture)], texts, torch.arange(4)[None], scores)[0]
    assert [hit["score"] for hit in hits] == pytest.approx(expected.tolist(), abs=1e-3)
    assert expected.tolist() == sorted(expected.tolist(), reverse=True)
    assert scores[0].tolist() != pytest.approx(expected.tolist(), abs=1e-3)  # the control


def test_an_answer_has_scores_of_one_scale(omni, folder, tmp_path) -> None:
    index = tmp_path / "index"
    omni("build", index, folder)
    for picture in (folder / "thing-0.png", folder / "below/thing-1.png"):
        picture.unlink()
    cosines = omni("search", index, "red circle")[1]
    code, out, note = omni("search", index, "red circle", "--rerank", 4)
    assert code == 0 and out == cosines and note.count("\n") == 1
    assert "red circle: not re-ranked, these scores are cosines" in note
    assert "there is no such image any more" in note

    words = tmp_path / "words"
    words.mkdir()
    (words / "one.txt").write_text("red circle")
    omni("add", index, words)
    cosines = omni("search", index, "a circle")[1]
    code, out, note = omni("search", index, "a circle", "--rerank", 5)
    assert code == 0 and out == cosines
    assert "1 of 5 found have no image or audio" in note and "search in senses image audio" in note
    code, out, note = omni(
        "search", index, "a circle", "--rerank", 5, "--senses", "audio", "--where", "language=xx"
    )
    assert (code, out, note) == (0, [], "")


def test_a_build_leaves_a_whole_index_or_none(omni, folder, tmp_path, monkeypatch) -> None:
    index = tmp_path / "index"
    assert omni("build", index, tmp_path / "nowhere")[0] == 2
    read_one = reading._of_files

    def interrupt(files: list[Path], errors: list[str]) -> object:
        if "below" in str(files[0]):
            raise KeyboardInterrupt
        return read_one(files, errors)

    monkeypatch.setattr(reading, "_of_files", interrupt)
    code, out, said = omni("build", index, folder)
    assert (code, out) == (130, []) and said.endswith("interrupted: no index is left behind\n")
    assert [*index.iterdir()] == []
    monkeypatch.undo()
    assert omni("build", index, folder)[1] == ["4 added, 4 items, 12 vectors"]
    before = Index.open(index)
    monkeypatch.setattr(reading, "_of_files", interrupt)
    Image.new("RGB", (32, 32), "blue").save(folder / "above.png")
    code, out, said = omni("add", index, folder)
    assert code == 130 and said.endswith("interrupted: the index is as it was\n")
    assert len(before) == len(Index.open(index)) == 4


def test_names_that_are_no_utf8_are_kept_and_found(omni, folder, tmp_path) -> None:
    index, name = tmp_path / "index", os.fsdecode(b"caf\xe9")
    (folder / "thing-0.png").rename(folder / f"{name}.png")
    (folder / "thing-0.txt").rename(folder / f"{name}.txt")
    code, out, wrong = omni("build", index, folder)
    assert code == 2 and wrong.count("\n") == 1 and "broken.png" in wrong
    assert out == ["5 added, 5 items, 12 vectors"]
    words = ("--senses", "image", "-k", 3, "--rerank", 3)
    code, out, wrong = omni("search", index, folder / f"{name}.png", *words)
    hits = [json.loads(line) for line in out]
    assert (code, wrong, len(hits)) == (0, "", 3)
    (hit,) = (hit for hit in hits if "caf" in hit["name"])
    assert hit["name"] == rf"{folder}/caf\udce9" and hit["meta"]["image"].endswith(r"\udce9.png")
    assert omni("search", index, "red circle", "--rerank", 3, "--senses", "image")[2] == ""
    assert omni("delete", index, folder / name)[1] == ["1 deleted, 4 left"]


def test_files_that_are_passed_over_are_counted(omni, folder, tmp_path) -> None:
    for name in ("a.heic", "b.HEIC", "c.pdf"):
        (folder / name).touch()
    said = omni("build", tmp_path / "index", folder)[2]
    assert f"{folder}: 3 files passed over: 2 x .heic, 1 x .pdf" in said


def test_what_cannot_be_done_is_one_line(omni, folder, tmp_path) -> None:
    index = tmp_path / "index"
    omni("build", index, folder)
    for words, told in {
        ("build", index, folder): "holds an index already",
        ("add", index, tmp_path / "nowhere"): "must be a folder",
        ("search", index, "a", "--where", "text"): "--where must be NAME=VALUE, got 'text'",
        ("search", tmp_path, "a"): "holds no index",
        ("search", index, "a", "-k", 0): "k must be at least 1, got 0",
        ("search", index, "a", "--rerank", -1): "--rerank must be at least 0, got -1",
    }.items():
        code, _, wrong = omni(*words)
        assert code == 2 and told in wrong and wrong.count("\n") == 1
    Index.open(index).close()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="holds no shard SPLIT-"):
        next(look(empty, []))


def test_shards_are_read_split_by_split(small_shards: Path) -> None:
    found = {name: (items, meta) for name, items, meta in look(small_shards, [])}
    assert {name.split("/")[0] for name in found} == {"train", "test"}
    items, meta = next(iter(found.values()))
    assert {*items} == {"image", "audio", "text"} and meta["text"] == items["text"]


@pytest.fixture
def small_shards(tmp_path: Path) -> Path:
    from tests.training.trainer import write_world

    path = Path(write_world(tmp_path / "world", 4))
    (path / "train-000001.tar").rename(path / "test-000000.tar")
    return path
