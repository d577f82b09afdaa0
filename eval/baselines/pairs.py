"""Pictures with their English texts as files and a table, which open_clip reads and we pack.

`python -m data.prepare pack OUT/pairs.csv OUT/shards --keep-originals` makes shards of them: so
ours can be trained on the very same pairs.
"""

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import IMAGES
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_members, make_sample

COLUMNS = ("key", "image", "text", "concept")


def read_pairs(data: str) -> Iterator[tuple[str, bytes, str, str]]:
    """Of each training picture, once for each English text: extension, bytes, text, concept.

    Raises `ValueError` for no shards, and for a sample that is damaged.
    """
    dataset = Dataset(data, "train")
    with closing(Reader(dataset)) as reader:
        for number in range(len(dataset)):
            members = reader.content(number, (*IMAGES, "txt", "json"))
            told = {e: member for e, member in members.items() if e not in IMAGES}
            sample = make_sample(str(number), decode_members(told, 0))
            for extension in members.keys() & {*IMAGES}:
                for text in sample.texts.get("en", ()):
                    yield extension, bytes(members[extension]), text, sample.group


def write_pairs(data: str, folder: Path) -> int:
    """Writes pairs.csv and the pictures beside it; the number of pairs.

    Raises `ValueError` as `read_pairs` does, and where there is no pair.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    number = 0
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, (extension, picture, text, concept) in enumerate(read_pairs(data), 1):
            path = (folder / "pictures" / f"{number:07d}.{extension}").resolve()
            path.write_bytes(picture)
            table.writerow((f"{number:07d}", path, text, concept))
    if not number:
        raise ValueError(f"{data} must hold pictures with English texts, train holds none")
    return number
