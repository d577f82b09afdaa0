"""What a word of a command line means: a file or a text."""

import os

import pytest
from PIL import Image

from omni.items import is_path, read_argument
from omni.pipeline.formats import FORMATS, UNREADABLE

TEXTS = [
    "red apple / green pear", "and/or", "v1.5", "e.g. this", "What is this?", "24/7", "1/2 cup",
    "red/green/blue", "km/h.", "U.S.A.", "node.js", "http/1.1", "3.14", "what is a .gif", "...",
    "e.g./i.e.", "he said: yes/no/maybe.", "- one", "a\nb/c", "Mr. Smith", "", "coffee w/ milk",
    "A red circle over a green bar, and/or more. " * 8, "x" * 5000,
]  # fmt: skip
PATHS = [
    "./x", "../x", "~/x", "/x", "pictures/", "missing/photo.heic", "missing/report.xyz",
    "https://example.org/a", "file:///x", "C:\\photo", "photo.JPG", "my photo.heic", "photo.heic ",
    "x" * 5000 + ".png", "a/" * 5000, "*.png",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_people_write_is_a_text(text: str) -> None:
    assert not is_path(text) and read_argument(text) == text


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_what_looks_like_a_path_is_never_a_text(path: str) -> None:
    with pytest.raises(ValueError, match="with --text it is taken for a text"):
        read_argument(path)
    assert read_argument(path, as_text=True) == path


@pytest.mark.parametrize("ending", [*FORMATS, *UNREADABLE])
def test_a_file_that_is_there_and_cannot_be_read_is_an_error(ending, tmp_path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"\0\xff nothing of this kind")
    with pytest.raises(ValueError, match=f"a.{ending}"):
        read_argument(str(path))


def test_a_file_is_a_file_whatever_it_is_called(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apple").write_text("no known ending")
    (tmp_path / "pear").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(ValueError, match="apple: the ending must be one of"):
        read_argument("apple")
    with pytest.raises(ValueError, match="pear: a folder, not a file"):
        read_argument("pear")
    with pytest.raises(ValueError, match="pear/x: no such file"):
        read_argument("pear/x")
    assert read_argument("apple", as_text=True) == "apple"
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    assert isinstance(read_argument(name), Image.Image)
    with pytest.raises(ValueError, match="a text must be UTF-8"):
        read_argument(os.fsdecode(b"caf\xe9"))
