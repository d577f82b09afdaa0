"""Copies of data sets in their official layout with real media, packed as a user packs them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from data.record import Record
from tests.data.corpora import pack
from tests.data.miniatures import media
from tests.data.samples import noise, picture, recording


def fill(records: Iterable[Record]) -> None:
    """Puts a picture or a recording of its own into every file."""
    for number, path in enumerate(path for record in records for path in media(record)):
        is_picture = path.suffix in (".jpg", ".png")
        path.write_bytes(picture(number) if is_picture else recording(noise(number)))


def packed(recipe: str, build: Callable[[Path], Iterable[Record]], folder: Path) -> Path:
    """The shards of a miniature."""
    fill([*build(folder / "copy")])
    assert pack(folder / "copy", folder / "shards", "--recipe", recipe, "--audio", "wav") == 0
    return folder / "shards"
