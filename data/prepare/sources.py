"""What can be packed: a folder, tables, foreign tars, a known data set. Each yields its records."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from data.prepare.media import IMAGE_SUFFIXES, SOUND_SUFFIXES
from data.prepare.tables import MEDIA, TABLES, Tables
from data.record import Record, Rejection
from omni.pipeline.decode import TEXT_FIELDS, decode_json, texts_of
from omni.pipeline.stream import stream_members

TARS = (".tar", ".tar.gz", ".tgz")
SLOTS = {suffix: "image" for suffix in IMAGE_SUFFIXES}
SLOTS |= {suffix: "audio" for suffix in SOUND_SUFFIXES}
SLOTS |= {"txt": "text", "text": "text", "caption": "text", "transcript": "text", "json": "json"}
SLOTS |= {"cls": "class"}
"""the part of a sample that a file is, by the end of its name; a class is one word for the meta"""


class Source(Protocol):
    """Records in an order that is the same every time.

    `total` is their number where it is known, `passed_over` counts files that are no part of any.
    """

    total: int | None
    passed_over: Counter[str]

    def __iter__(self) -> Iterator[Record | Rejection]:
        """Lists the records."""
        ...


def open_source(path: str, recipe: str | None, split: str | None) -> Source:
    """Finds out what a path is. Raises `ValueError` for what cannot be packed."""
    if recipe is not None:
        if split is not None:
            raise ValueError("--split: a recipe says itself to which split a sample belongs")
        return Recipe(recipe, Path(path))
    split = split or "train"
    folder = Path(path)
    if not folder.is_dir():
        files = [folder] if folder.is_file() else _matches(folder)
        if files and all(file.name.endswith(TARS) for file in files):
            return Tars(files, split)
        if files and all(file.suffix in TABLES for file in files):
            return Tables(files, split)
        known = ", ".join((*TARS, *TABLES))
        raise ValueError(f"{path!r} must be a folder, or files that end in one of {known}")
    files = sorted(folder.iterdir())
    if tars := [file for file in files if file.name.endswith(TARS)]:
        return Tars(_one_split(tars), split)
    if tables := [file for file in files if file.suffix == ".parquet"]:
        return Tables(_one_split(tables), split)
    return Folder(folder, split)


def _one_split(files: list[Path]) -> list[Path]:
    """The files. Raises `ValueError` where their names but for numbers differ, as of splits."""
    stems = (file.name.partition(".")[0] for file in files)
    names = sorted({re.sub(r"([-_]?(of)?[-_]?\d+)+$", "", stem) for stem in stems})
    if len(names) > 1:
        folder = files[0].parent
        raise ValueError(
            f"{str(folder)!r} seems to hold several splits: {', '.join(names)}; "
            f"pack one at a time, as '{folder}/{names[-1]}*' with --split {names[-1]}"
        )
    return files


def _matches(pattern: Path) -> list[Path]:
    """Files of a pattern: a relative one is looked up here, an absolute one from its root."""
    root = Path(pattern.anchor or ".")
    relative = str(pattern.relative_to(pattern.anchor))
    return sorted(path for path in root.glob(relative) if path.is_file())


class Recipe:
    """A user's own copy of a known data set."""

    def __init__(self, name: str, root: Path) -> None:
        from data.recipes import RECIPES  # which imports the readers of other libraries

        if name not in RECIPES:
            raise ValueError(f"--recipe must be one of {', '.join(RECIPES)}; got {name!r}")
        self.read, self.root = RECIPES[name], root
        self.total: int | None = None
        self.passed_over = Counter[str]()

    def __iter__(self) -> Iterator[Record | Rejection]:
        return iter(self.read(self.root))


class Folder:
    """Files with the same path but for the suffix are one sample: a.jpg, a.wav, a.txt, a.json.

    The whole of a text file is one text. Raises `ValueError` where two files are the same sense.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.passed_over = Counter[str]()
        self.total: int | None = sum(1 for _ in self._groups())

    def __iter__(self) -> Iterator[Record | Rejection]:
        self.passed_over.clear()
        for key, files in self._groups():
            words = {s: path.read_bytes() for s, path in files.items() if s not in MEDIA}
            yield to_record(key, files | words, self.split)

    def _groups(self) -> Iterator[tuple[str, dict[str, Path]]]:
        """Key and files by slot, in the order of the paths."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            groups: dict[str, dict[str, Path]] = {}
            for path in (Path(folder, name) for name in sorted(names)):
                slot = SLOTS.get(path.suffix[1:].lower())
                if path.name.startswith(".") or slot is None:
                    self.passed_over[path.suffix or path.name] += 1
                    continue
                group = groups.setdefault(path.stem, {})
                if slot in group:
                    raise ValueError(
                        f"one sample with two files for its {slot}: {group[slot]}, {path}"
                    )
                group[slot] = path
            inside = Path(folder).relative_to(self.root)
            yield from (((inside / stem).as_posix(), groups[stem]) for stem in sorted(groups))


class Tars:
    """The tars of others, which webdataset reads; their extensions may be odd."""

    def __init__(self, files: list[Path], split: str) -> None:
        self.files, self.split = files, split
        self.total: int | None = None
        self.passed_over = Counter[str]()

    def __iter__(self) -> Iterator[Record | Rejection]:
        for file in self.files:
            yield from map(self._record, stream_members(file))

    def _record(self, members: dict[str, bytes | str]) -> Record | Rejection:
        key = str(members.pop("__key__"))
        found: dict[str, str] = {}
        # "jpg" before "left.jpg", which is taken where there is no other picture
        for extension in sorted(members, key=lambda e: (e.count("."), e)):
            slot = SLOTS.get(last := extension.rpartition(".")[2])
            first = found.get(slot or "")
            if slot is None or (first is not None and first.count(".") < extension.count(".")):
                self.passed_over[f".{last}"] += 1
            elif first is not None:
                reason = f"which of .{first} and .{extension} is it?"
                return Rejection(key, slot, reason, self.split)
            else:
                found[slot] = extension
        parts = {slot: members[extension] for slot, extension in found.items()}
        return to_record(key, parts, self.split)


def to_record(key: str, parts: Mapping[str, Any], split: str) -> Record | Rejection:
    """A record of the files of a sample by slot: words as bytes, media as bytes or paths.

    Texts and their language may be in the json.
    """
    try:
        meta = decode_json(parts["json"]) if "json" in parts else {}
    except ValueError as error:
        return Rejection(key, "json", str(error), split)
    language = meta.pop("language", "en")
    language = language if isinstance(language, str) else "en"
    known = {field: meta.pop(field) for field in TEXT_FIELDS if field in meta}
    texts = texts_of(known | {"language": language}).get(language, [])
    if "text" in parts:  # what is no UTF-8 is rejected when the sample is packed
        texts = [parts["text"].decode("utf-8", "surrogateescape").strip(), *texts]
    if "class" in parts:
        meta["class"] = parts["class"].decode("utf-8", "replace").strip()
    image, audio = parts.get("image"), parts.get("audio")
    texts = tuple(dict.fromkeys(texts))
    return Record(key, image, audio, texts, language, split, meta=meta)
