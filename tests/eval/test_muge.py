"""MUGE end to end: its official files to shards, a model's submissions, and their score."""

import base64
import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from eval import muge
from eval.corpus import picture
from eval.muge import main
from eval.submission import DIALECTS, read_captions, read_pictures
from omni import load, pretrained
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.pipeline.sample import read_samples
from omni.presets import PRESETS
from tests.data.corpora import pack

COLOURS = ["red", "green", "blue", "white", "black", "orange", "purple", "cyan", "pink", "brown"]
COLOURS += ["gold", "gray", "navy"]
IDS = [100 + 7 * number for number in range(len(COLOURS))]
ANSWERS = {8426: [100], 8428: [107, 114], 9001: [121], 9002: [184]}
"""the right images of each query; two queries have the same words"""
WORDS = {8426: "红色 连衣裙", 8428: "绿色 托特包", 9001: "女 衬衫", 9002: "女 衬衫"}
ALPHABETS = {"original": base64.urlsafe_b64encode, "chinese-clip": base64.b64encode}
FILES = {
    "original": ("MR_{}_queries.jsonl", "MR_{}_imgs.tsv", "query_text"),
    "chinese-clip": ("{}_texts.jsonl", "{}_imgs.tsv", "text"),
}


def png(colour: str) -> bytes:
    Image.new("RGB", (40, 30), colour).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def write_root(root: Path, dialect: str) -> Path:
    """MUGE's three tasks as unpacked; of the test the answers are hidden."""
    root.mkdir()
    queries, gallery, words = FILES[dialect]
    (query, images), encode = DIALECTS[dialect], ALPHABETS[dialect]
    table = "".join(
        f"{number}\t{encode(png(colour)).decode()}\n"
        for number, colour in zip(IDS, COLOURS, strict=True)
    )
    for split in ("valid", "test"):
        lines = [
            {query: number, words: WORDS[number], images: found if split == "valid" else []}
            for number, found in ANSWERS.items()
        ]
        write_lines(root / queries.format(split), lines)
        (root / gallery.format(split)).write_text(table)
    write_lines(root / "IC_test.jsonl", [{"image_id": f"c{number}"} for number in IDS])
    (root / "IC_test.tsv").write_text("".join(f"c{row}\n" for row in table.splitlines()))
    (root / "T2I_test.text.tsv").write_text("8cf9\t纯棉 短裤\n1a2b\t白色 上衣\n", "utf-8")
    return root


def write_lines(path: Path, lines: list[dict]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The files in each dialect, and their shards."""
    found = {}
    for dialect in DIALECTS:
        folder = tmp_path_factory.mktemp(dialect)
        root, shards = write_root(folder / "root", dialect), folder / "shards"
        assert pack(root, shards, "--recipe", "muge", "--shard-samples", "9") == 0
        found[dialect] = root, shards
    return found


@pytest.fixture(scope="module")
def shards(worlds: dict[str, tuple[Path, Path]]) -> Path:
    return worlds["original"][1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model that knows Chinese; what begins as zero is moved, or it draws grey."""
    folder, config = tmp_path_factory.mktemp("run"), PRESETS["debug"]()
    tokenizer = Tokenizer.train(WORDS.values(), ["en", "zh"], 320)
    torch.manual_seed(0)
    network = Network(config.model, tokenizer)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * torch.randn_like(weight)
    pretrained.save(folder, config, tokenizer, network.state_dict())
    return folder


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that several are needed."""
    monkeypatch.setattr(muge, "BATCH", 5)


def made(command: str, run: Path, shards: Path, out: Path, *options: str) -> Path:
    assert main([command, str(run), str(out), "--data", str(shards), *options]) == 0
    assert [*out.parent.iterdir()] == [out]  # nothing half done is left
    return out


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_retrieved_is_what_the_model_finds_and_is_scored(
    dialect, worlds, run, tmp_path, capsys
):
    root, shards = worlds[dialect]
    options = "--dialect", dialect, "--split", "val"
    out = made("retrieve", run, shards, tmp_path / "out.jsonl", *options)
    model, query = load(run), DIALECTS[dialect].query
    gallery = {
        s.meta["image_id"]: picture(s)
        for s in read_samples(str(shards), "val")
        if s.image is not None and s.meta["task"] == "MR"
    }
    assert {*gallery} == {*IDS}
    found = {
        line[query]: [*line.values()][1] for line in map(json.loads, out.read_text().splitlines())
    }
    assert found.keys() == ANSWERS.keys()
    for number, images in found.items():
        best = model.retrieve(WORDS[number], [*gallery.values()], k=10)
        assert images == [[*gallery][place] for place, _ in best]
    capsys.readouterr()
    truth = root / FILES[dialect][0].format("valid")
    assert main(["score", str(truth), str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    for depth in (1, 5, 10):
        right = [bool({*found[n][:depth]} & {*images}) for n, images in ANSWERS.items()]
        assert result["scoreJson"][f"r{depth}"] == 100 * sum(right) / len(right)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_hidden_test_has_a_line_for_every_query(dialect, worlds, run, tmp_path, capsys):
    root, shards = worlds[dialect]
    out = made("retrieve", run, shards, tmp_path / "out.jsonl", "--dialect", dialect)
    assert len(out.read_text().splitlines()) == len(ANSWERS)
    capsys.readouterr()
    assert main(["score", str(root / FILES[dialect][0].format("test")), str(out)]) == 1
    result = json.loads(capsys.readouterr().out)
    assert not result["success"] and "must not be empty" in result["errorMsg"]


def test_every_image_gets_a_caption(shards, run, tmp_path):
    out = made("caption", run, shards, tmp_path / "captions.jsonl")
    captions = read_captions(out, [f"c{number}" for number in IDS])
    model = load(run)
    for sample in read_samples(str(shards), "test"):
        if sample.meta["task"] == "IC":
            written = model.generate(picture(sample), to="text", language="zh")
            assert captions[sample.meta["image_id"]] == written


def test_every_prompt_gets_a_picture_that_the_seed_decides(shards, run, tmp_path):
    drawn = []
    for turn, seed in enumerate("001"):
        (folder := tmp_path / str(turn)).mkdir()
        out = made("draw", run, shards, folder / "T2I_test.tsv", "--seed", seed)
        drawn.append(read_pictures(out, ["8cf9", "1a2b"]))
    assert drawn[0] == drawn[1] != drawn[2]
    with Image.open(io.BytesIO(drawn[0]["8cf9"])) as shown:
        assert (shown.format, shown.size) == ("PNG", (32, 32))


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        ("retrieve", ["--split", "train"], "no shards train-*.tar in"),
        ("caption", ["--split", "val"], "must hold image of IC of val, it has none"),
        ("draw", ["--split", "val"], "must hold text of T2I of val, it has none"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(
    command, options, told, shards, run, tmp_path, capsys
):
    out = tmp_path / "out"
    assert main([command, str(run), str(out), "--data", str(shards), *options]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert told in line and not out.exists()


def test_a_gallery_of_nine_is_too_small(run, tmp_path, capsys):
    root = tmp_path / "root"
    root.mkdir()
    write_lines(root / "MR_test_queries.jsonl", [{"query_id": 1, "query_text": "裙"}])
    rows = [f"{n}\t{base64.b64encode(png(c)).decode()}\n" for n, c in enumerate(COLOURS[:9])]
    (root / "MR_test_imgs.tsv").write_text("".join(rows))
    shards = tmp_path / "shards"
    assert pack(root, shards, "--recipe", "muge") == 0
    assert main(["retrieve", str(run), str(tmp_path / "out"), "--data", str(shards)]) == 2
    assert "must hold 10 images and a query, it has 9 and 1" in capsys.readouterr().err


def test_a_damaged_picture_is_named_and_the_rest_is_made(run, tmp_path, capsys):
    root = write_root(tmp_path / "root", "original")
    shards, out = tmp_path / "shards", tmp_path / "out"
    assert pack(root, shards, "--recipe", "muge", "--shard-samples", "99") == 0
    shard = shards / "test-000000.tar"
    with tarfile.open(shard) as opened:
        named = {member.name: member for member in opened}
        about = {name: json.load(opened.extractfile(name)) for name in named if "json" in name}
    lost = next(name for name, meta in about.items() if meta.get("image_id") == IDS[3])
    member = next(m for n, m in named.items() if n.startswith(lost[:-4]) and n != lost)
    data = bytearray(shard.read_bytes())
    data[member.offset_data : member.offset_data + 16] = bytes(16)
    shard.write_bytes(data)
    capsys.readouterr()
    assert main(["retrieve", str(run), str(out), "--data", str(shards)]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert "test-000000.tar" in line and repr(lost[:-5]) in line
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(answers) == len(ANSWERS)
    assert IDS[3] not in {image for one in answers for image in one["item_ids"]}
