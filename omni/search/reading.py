"""What goes into an index: the files of a folder, or the samples of shards, as vectors a sense."""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from omni.batch import Sample
from omni.interface import Omni
from omni.items import Item, Text, Video, read, to_picture, to_sound
from omni.names import to_text
from omni.pipeline.dataset import Dataset
from omni.pipeline.files import walk_files
from omni.pipeline.formats import FORMATS
from omni.pipeline.sample import numbered_samples
from omni.search.index import Entry
from omni.search.things import place

SENSES = {
    ending: "image" if form.modality == "video" else form.modality
    for ending, form in FORMATS.items()
}
"""sense of a file by its ending; a video is found as a picture is"""
TOGETHER = 256
"""items that are held and embedded at once"""
SHOWN = 300
"""characters of a text that the metadata keep"""

Found = tuple[str, dict[str, Item], dict[str, Any]]
"""name, what there is of each sense, metadata"""


def embed(model: Omni, found: Iterable[Found]) -> Iterator[Entry]:
    """The entries of an index, each sense embedded by itself."""
    left = iter(found)
    while some := [*islice(left, TOGETHER)]:
        places = [(i, sense) for i, (_, items, _) in enumerate(some) for sense in items]
        vectors = model.embed([some[i][1][sense] for i, sense in places]).numpy()
        mine: list[dict[str, np.ndarray]] = [{} for _ in some]
        for (i, sense), vector in zip(places, vectors, strict=True):
            mine[i][sense] = vector
        for (name, _, meta), of in zip(some, mine, strict=True):
            yield Entry(name, of, meta)


def look(source: Path, errors: list[str]) -> Iterator[Found]:
    """The items of a folder of shards, or of files; what cannot be read goes into `errors`.

    Files that differ in their endings alone are one item, as in a shard. Names are paths as given.
    Raises `ValueError` where there is nothing to be found.
    """
    if splits := _splits(source):
        for split in splits:
            samples = numbered_samples(str(source), split, damaged=lambda e: errors.append(str(e)))
            for number, sample in samples:
                found, meta = _of_sample(sample)
                where = to_text(place(source, split, number))
                media = {sense: where for sense in found if sense != "text"}
                yield to_text(f"{split}/{sample.key}"), found, meta | media
        return
    for name, members in _stems(source).items():
        if found := _of_files(members, errors):
            paths = {sense: to_text(path) for sense, (path, _) in found.items()}
            text = {"text": str(found["text"][1])[:SHOWN]} if "text" in found else {}
            yield to_text(name), {sense: item for sense, (_, item) in found.items()}, paths | text


def count_items(source: Path) -> int:
    """Return how many items `look` will find at most: those that are damaged count, too.

    Raises `ValueError` where there is nothing to be found.
    """
    if splits := _splits(source):
        return sum(len(Dataset(str(source), split)) for split in splits)
    return len(_stems(source))


def _splits(source: Path) -> list[str]:
    """The splits of a folder of shards; none where it is one of files."""
    check_folder(source)
    return sorted({path.name.rsplit("-", 1)[0] for path in source.glob("*-*.tar")})


def _stems(source: Path) -> dict[str, list[Path]]:
    """The files of a folder by their names without endings."""
    walked = (folder / name for folder, names in walk_files(source) for name in names)
    files = sorted(p for p in walked if p.suffix.lower()[1:] in SENSES and p.is_file())
    if not files:
        raise ValueError(f"{source} holds no shard SPLIT-*.tar and no file ending in one of "
                         f"{', '.join(SENSES)}")  # fmt: skip
    items: dict[str, list[Path]] = {}
    for file in files:
        items.setdefault(str(file.with_suffix("")), []).append(file)
    return items


def check_folder(source: Path) -> None:
    """Raise `ValueError` for what is no folder."""
    if not os.path.isdir(source):
        raise ValueError(f"{source} must be a folder of shards, or of pictures, sounds and texts")


def _of_files(files: list[Path], errors: list[str]) -> dict[str, tuple[Path, Item]]:
    """The first file of each sense that can be read."""
    found: dict[str, tuple[Path, Item]] = {}
    for path in files:
        sense = SENSES[path.suffix.lower()[1:]]
        try:
            item = read(path)
        except ValueError as error:
            errors.append(str(error))
            continue
        if item != "" and sense not in found:
            found[sense] = path, item
    return found


def _of_sample(sample: Sample) -> tuple[dict[str, Item], dict[str, Any]]:
    items: dict[str, Item] = {}
    if sample.image is not None:
        pictures = [*map(to_picture, sample.image.view(-1, *sample.image.shape[-3:]))]
        items["image"] = pictures[0] if sample.image.ndim == 3 else Video(pictures)
    if sample.audio is not None:
        items["audio"] = to_sound(sample.audio, 16_000)
    plain = {to_text(k): v for k, v in sample.meta.items() if _is_plain(v)}
    # Half of a surrogate pair, which json can hold, no database takes.
    meta: dict[str, Any] = {k: to_text(v) if isinstance(v, str) else v for k, v in plain.items()}
    if sample.text:
        items["text"] = Text(sample.text)
        meta |= {"text": sample.text[:SHOWN], "language": to_text(sample.language)}
    return items, meta


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list)
