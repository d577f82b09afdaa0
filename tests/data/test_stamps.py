"""Tux Paint's stamps in the layout of Debian's package."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.recipes.stamps import INSIDE, SLATE, is_held, read, read_captions

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40pt" height="40pt">'
    '<rect x="10" y="10" width="20" height="10" fill="#c00"/></svg>'
)
KOALA = "A koala.\naf.utf8='n Koalabeer.\nfr.utf8=Un koala.\nxx.utf8=\n# nothing\nru.utf8=Коала.\n"


def png(colour: tuple[int, int, int]) -> bytes:
    """A disc on nothing, with a margin."""
    y, x = np.mgrid[:60, :80]
    inside = (x - 40) ** 2 + (y - 30) ** 2 < 400
    pixels = np.dstack([np.full((60, 80, 3), colour), inside * 255]).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "png")
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four stamps."""
    contents = {
        "animals/marsupials/koala": {".png": png((90, 90, 90)), ".txt": KOALA.encode()},
        "animals/marsupials/koala2": {".png": png((9, 9, 9)), ".txt": b"A koala."},
        "town/ghost": {".png": png((250, 250, 250)), ".svg": None, ".txt": b"A ghost."},
        "vehicles/emergency/firetruck": {".svg": SVG.encode(), ".png": b"", ".txt": b"A truck."},
    }
    for stem, files in contents.items():
        for suffix, data in files.items():
            path = tmp_path / INSIDE / f"{stem}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                path.write_bytes(data)
    for name in ("koala_desc", "koala_desc_fr", "koala_desc_ru", "koala_desc_zz", "koala"):
        (tmp_path / INSIDE / f"animals/marsupials/{name}.ogg").touch()
    (tmp_path / INSIDE / "vehicles/emergency/firetruck.ogg").touch()
    (tmp_path / INSIDE / "animals/marsupials/wallaby_desc.ogg").touch()
    return tmp_path


def test_a_stamp_is_a_sample_with_every_caption_and_one_for_each_recording(root: Path) -> None:
    records = {record.key: record for record in read(root)}
    koala = "animals/marsupials/koala"
    keys = ["", "-en", "-fr", "-ru", "-sound"]
    others = [f"{koala}2", "town/ghost", "vehicles/emergency/firetruck"]
    assert [*records] == [*(f"{koala}{key}" for key in keys), *others]
    whole = records[koala]
    assert whole.audio is None and whole.split == "test"  # as the file of the split says
    assert whole.meta["names"] == {
        "en": "A koala.", "af": "'n Koalabeer.", "fr": "Un koala.", "ru": "Коала.",
    }  # fmt: skip
    french = records[f"{koala}-fr"]
    assert (french.texts, french.language) == (("Un koala.",), "fr")
    assert isinstance(french.audio, Path) and french.audio.name == "koala_desc_fr.ogg"
    assert french.image is None  # the picture is there once
    assert french.meta["names"] == whole.meta["names"]
    assert records[f"{koala}-sound"].texts == ("A koala.",)
    kinds = {key: record.meta["kind"] for key, record in records.items()}
    assert kinds[f"{koala}-en"] == "speech" and kinds[f"{koala}-sound"] == "sound"
    # Samples of one caption are one concept, whatever the stamp.
    assert {records[key].meta["concept"] for key in (koala, f"{koala}2")} == {"a koala."}
    assert read(root / INSIDE) is not None
    assert [record.key for record in read(root / INSIDE)] == [*records]


def test_a_picture_is_cropped_and_what_is_white_gets_slate(root: Path) -> None:
    records = {record.key: record for record in read(root)}

    def pixels(key: str) -> np.ndarray:
        image = records[key].image
        assert isinstance(image, bytes)
        return np.asarray(Image.open(io.BytesIO(image)))

    grey, ghost = pixels("animals/marsupials/koala"), pixels("town/ghost")
    assert grey.shape == (39, 39, 3)
    assert tuple(grey[0, 0]) == (255, 255, 255) and tuple(grey[19, 19]) == (90, 90, 90)
    assert tuple(ghost[0, 0]) == SLATE and tuple(ghost[19, 19]) == (250, 250, 250)
    truck = pixels("vehicles/emergency/firetruck")  # the SVG, although there is a PNG
    assert truck.shape[1] > 150 and abs(truck.shape[0] - truck.shape[1] / 2) <= 2
    assert tuple(truck[40, 60]) == (204, 0, 0)


def test_captions_are_read_by_language() -> None:
    assert read_captions("A pie.\nfr.utf8=Une tarte.\nfr.utf8=Deux.\nno such line\n") == {
        "en": "A pie.",
        "fr": "Une tarte.",
    }


def test_letters_are_drawn_by_those_who_had_the_fonts(tmp_path: Path) -> None:
    (tmp_path / "dollar.txt").write_text("A dollar.")
    (tmp_path / "dollar.svg").write_text(SVG.replace("<rect", "<text>$</text><rect"))
    assert [r.key for r in read(tmp_path)] == ["dollar"]  # without a .png the .svg will do
    (tmp_path / "dollar.png").write_bytes(png((0, 0, 255)))
    (record,) = read(tmp_path)
    assert isinstance(record.image, bytes)
    blue = Image.open(io.BytesIO(record.image))
    assert blue.getpixel((blue.width // 2, blue.height // 2)) == (0, 0, 255)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold stamps with their .txt; to be had from"):
        list(read(tmp_path))
    (tmp_path / "a.txt").write_text("\nfr.utf8=Une tarte.")
    (tmp_path / "a.png").write_bytes(png((0, 0, 0)))
    with pytest.raises(ValueError, match=r"a.txt must begin with an English caption"):
        list(read(tmp_path))
    (tmp_path / "a.txt").write_text("A pie.")
    empty = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(empty, "png")
    (tmp_path / "a.png").write_bytes(empty.getvalue())
    with pytest.raises(ValueError, match=r"a.png shows nothing"):
        list(read(tmp_path))


def test_one_in_nine_recordings_of_known_stamps_is_held_out_by_what_it_holds(
    tmp_path: Path,
) -> None:
    files = [tmp_path / f"{number}.ogg" for number in range(900)]
    for number, file in enumerate(files):
        file.write_bytes(b"sound %d" % number)
    held = [is_held(file, "train") for file in files]
    assert 70 < sum(held) < 130
    assert not any(is_held(file, "test") for file in files)
    shared = tmp_path / "shared.ogg"
    for file, out in zip(files[:30], held, strict=False):
        shared.write_bytes(file.read_bytes())
        assert is_held(shared, "train") is out
