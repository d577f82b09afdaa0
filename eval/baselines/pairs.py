"""Pictures with their English texts, and nothing else: as a shard for us, as a table for others."""

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import IMAGES
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_members, make_sample
from omni.pipeline.writer import write_shard

TABLE, SHARD = "train.csv", "train-000000.tar"


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
    """Writes the shard, and the table (image, text) with its pictures; the number of pairs.

    Raises `ValueError` as `read_pairs` does, and where there is no pair.
    """
    if next(read_pairs(data), None) is None:
        raise ValueError(f"{data} must hold pictures with English texts, train holds none")
    pictures = folder.resolve() / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "text"))

        def tabled() -> Iterator[tuple[str, dict[str, bytes]]]:
            for number, (extension, picture, text, concept) in enumerate(read_pairs(data)):
                path = pictures / f"{number:07d}.{extension}"
                path.write_bytes(picture)
                table.writerow((path, text))
                about = json.dumps({"concept": concept})
                yield path.stem, {extension: picture, "txt": text.encode(), "json": about.encode()}

        return len(write_shard(folder / SHARD, tabled()))
