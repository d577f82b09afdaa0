"""The page shows what the shards hold, and nothing that they hold becomes markup."""

import base64
import io
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from data.prepare.__main__ import main
from data.prepare.show import INLINE_BYTES, draw, render
from omni.pipeline.dataset import Dataset
from omni.pipeline.writer import write_shard

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & {seed} \u202e"


class Page(HTMLParser):
    """Tags, what addresses lead to, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.sources: list[tuple[str, bytes]] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        if source := dict(attrs).get("src"):
            kind, _, data = source.removeprefix("data:").partition(";base64,")
            self.sources.append((kind, base64.b64decode(data, validate=True)))

    def handle_data(self, data):
        self.text += data


def picture(kind: str, size: int = 32) -> bytes:
    pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def recording(kind: str, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8000), 16_000, format=kind, subtype=subtype)
    return buffer.getvalue()


MEDIA = [
    ("jpg", picture("JPEG"), "image/jpeg"),
    ("png", picture("PNG"), "image/png"),
    ("webp", picture("WEBP"), "image/webp"),
    ("wav", recording("WAV"), "audio/wav"),
    ("flac", recording("FLAC"), "audio/flac"),
    ("mp3", recording("MP3", "MPEG_LAYER_III"), "audio/mpeg"),
    ("ogg", recording("OGG", "VORBIS"), "audio/ogg"),
    ("opus", recording("OGG", "OPUS"), "audio/ogg"),
]


def written(folder: Path, samples: list[tuple[str, dict[str, bytes]]]) -> Dataset:
    folder.mkdir(exist_ok=True)
    write_shard(folder / "train-000000.tar", samples)
    return Dataset(str(folder), "train")


def test_every_kind_of_medium_is_in_the_page_as_it_is(tmp_path):
    samples = [(f"s-{extension}", {extension: data}) for extension, data, _ in MEDIA]
    page = Page(render(written(tmp_path / "set", samples), 48, 0))
    assert page.sources == [(kind, data) for _, data, kind in MEDIA]
    assert (page.tags["img"], page.tags["audio"]) == (3, 5)
    assert "32 x 32 pixels" in page.text
    assert "0.50 s at 16,000 Hz" in page.text
    assert "s-flac" in page.text
    assert "train-000000.tar, sample 4: .flac" in page.text
    assert "8 in 1 shards" in page.text


def test_hostile_text_does_not_become_markup(tmp_path):
    meta = {"language": HOSTILE, "names": {"zh": "自行车 " + HOSTILE, "<b>": "x"}}
    key = "<img src=x>"
    dataset = written(
        tmp_path / "<u>set", [(key, {"txt": HOSTILE.encode(), "json": json.dumps(meta).encode()})]
    )
    page = Page(render(dataset, 1, 0))
    assert not {"script", "img", "u", "b"} & {*page.tags}
    assert page.attributes <= {"lang", "charset", "name", "content", "http-equiv", "class"}
    assert page.text.count(HOSTILE) == 3
    assert key in page.text
    assert Page(HOSTILE).tags == {"script": 1, "img": 1}  # it is hostile


def test_what_cannot_be_decoded_is_shown_with_its_error(tmp_path):
    samples = [
        ("cut", {"jpg": MEDIA[0][1][:500], "txt": b"a caption that is fine"}),
        ("empty", {"wav": b""}),
        ("latin", {"txt": "früh".encode("latin-1")}),
        ("surrogate", {"json": b'{"names": {"x\\ud800": "a name"}}'}),
        ("flipped", {"txt": b"another caption"}),
    ]
    written(tmp_path / "set", samples)
    tar = tmp_path / "set" / "train-000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b"another caption", b"another captioN"))
    out = tmp_path / "page.html"
    assert main(["show", str(tmp_path / "set"), "--out", str(out)]) == 0
    page = Page(out.read_text("utf-8"))
    assert page.sources == []
    for said in (
        ".jpg: ",
        "a caption that is fine",
        ".wav: 0 bytes",
        "UTF-8",
        "x? a name",
        "crc32",
    ):
        assert said in page.text
    assert page.tags["article"] == 5
    assert page.tags["p"] == 1 + 4


def test_a_large_picture_is_put_in_smaller(tmp_path):
    large = picture("PNG", 640)
    assert len(large) > INLINE_BYTES
    page = Page(render(written(tmp_path / "set", [("s", {"png": large})]), 1, 0))
    ((kind, data),) = page.sources
    assert kind == "image/jpeg"
    assert Image.open(io.BytesIO(data)).size == (512, 512)
    assert "640 x 640 pixels" in page.text


def test_every_set_of_senses_is_drawn_alike(tmp_path):
    both, words = {"png": MEDIA[1][1], "txt": b"words"}, {"txt": b"words"}
    samples = [(f"s{i}", both if i % 10 == 0 else words) for i in range(60)]
    samples.append(("sound", {"wav": MEDIA[3][1]}))
    dataset = written(tmp_path / "set", samples)

    def senses(numbers: list[int]) -> Counter[int]:
        return Counter(dataset.column("senses", np.array(numbers)).tolist())

    assert sorted(senses(draw(dataset, 9, 0)).values()) == [1, 4, 4]
    assert sorted(senses(draw(dataset, 20, 0)).values()) == [1, 6, 13]
    assert draw(dataset, 1000, 0) == [*range(61)]
    assert draw(dataset, 9, 0) == draw(dataset, 9, 0)
    assert len({tuple(draw(dataset, 9, seed)) for seed in range(4)}) == 4


def test_what_cannot_be_shown_is_refused(tmp_path, capsys):
    written(tmp_path / "set", [("s", {"txt": b"words"})])
    out = tmp_path / "page.html"
    for wrong in (["--count", "0"], ["--split", "nope"], ["--seed", "-1"]):
        assert main(["show", str(tmp_path / "set"), "--out", str(out), *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert not out.exists()


def test_the_sample_shards_are_shown(tmp_path):
    page = Page(render(Dataset(str(Path(__file__).parents[2] / "data" / "sample"), "test"), 12, 0))
    assert (page.tags["article"], page.tags["img"], page.tags["audio"]) == (12, 12, 12)
    assert page.tags["p"] == 1
