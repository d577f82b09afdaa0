"""A folder of files, each sample one name: with the rows of a `metadata` table where it has one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.prepare.fields import Census, add_names, read_texts
from data.prepare.media import SLOTS
from data.prepare.splits import split_of
from data.prepare.tables import MEDIA, TABLES, Tables, read_table
from data.record import Record, Rejection
from omni.pipeline.decode import TEXT_FIELDS, decode_json
from omni.pipeline.files import walk_files

METADATA = "metadata"
"""name of a table whose rows belong to the files beside it and below, as Hugging Face has it"""


def is_metadata(path: Path) -> bool:
    """Whether a file is such a table."""
    return path.stem.lower() == METADATA and path.suffix.lower() in TABLES


class Folder:
    """Files with the same path but for the suffix are one sample: a.jpg, a.wav, a.txt, a.json.

    The whole of a text file is one text. What a row of a `metadata` table says of a file is added
    to the sample of that file. The split is given, or else what one of the folders is called.
    Raises `ValueError` where two files are the same sense.
    """

    def __init__(self, root: Path, split: str | None) -> None:
        self.root, self.split = root, split
        self.passed_over, self.census = Counter[str](), Census()
        self.tables: list[Path] = []
        num_groups = sum(1 for _ in self._groups())
        self.total: int | None = None if self.tables else num_groups

    def __iter__(self) -> Iterator[Record | Rejection]:
        self.passed_over.clear()
        if not self.tables:
            yield from (self._record(key, files) for key, files in self._groups())
            return
        groups, used = dict(self._groups()), set()
        for table in self.tables:
            yield from self._rows(table, groups, used)
        for key, files in groups.items():
            if key in used:
                continue
            if files.keys() & {*MEDIA}:
                self.census.add(METADATA, "no row of it names the file, which is packed without")
            yield self._record(key, files)

    def _record(self, key: str, files: dict[str, Path]) -> Record | Rejection:
        words = {slot: path.read_bytes() for slot, path in files.items() if slot not in MEDIA}
        split = self.split or split_of(Path(key).parent) or "train"
        return to_record(key, files | words, split, self.census)

    def _rows(
        self, table: Path, groups: dict[str, dict[str, Path]], used: set[str]
    ) -> Iterator[Record | Rejection]:
        """The samples of a table; the keys of the `groups` whose files they have go to `used`."""
        rows = Tables([table], self.split)
        rows.census = self.census
        inside = table.parent.relative_to(self.root)
        default = self.split or split_of(inside)
        for number, row in enumerate(read_table(table), 1):
            record = rows.record(row, table.parent, number)
            if default and "split" not in row:
                record = replace(record, split=default)
            if isinstance(record, Record):
                record = replace(record, key=(inside / record.key).as_posix())
                media = [path for path in (record.image, record.audio) if isinstance(path, Path)]
                inner = [path for path in media if path.is_relative_to(self.root)]
                keys = [path.relative_to(self.root).with_suffix("").as_posix() for path in inner]
                used.update(keys)
                found = [(key, groups[key]) for key in dict.fromkeys(keys) if key in groups]
                record = self._with_neighbours(record, found)
            yield record

    def _with_neighbours(self, record: Record, groups: list[tuple[str, dict[str, Path]]]) -> Record:
        """A record with the files that bear the names of its media, and what they say."""
        for key, files in groups:
            others = {s: path for s, path in files.items() if getattr(record, s, None) is None}
            beside = self._record(key, others)
            if isinstance(beside, Record):
                record = replace(
                    record,
                    image=record.image or beside.image,
                    audio=record.audio or beside.audio,
                    texts=tuple(dict.fromkeys((*record.texts, *beside.texts))),
                    meta=beside.meta | record.meta,
                    faults=beside.faults | record.faults,
                )
        return record

    def _groups(self) -> Iterator[tuple[str, dict[str, Path]]]:
        """Key and files by slot, in the order of the paths."""
        self.tables = []
        for folder, names in walk_files(self.root):
            groups: dict[str, dict[str, Path]] = {}
            for path in (folder / name for name in names):
                slot = SLOTS.get(path.suffix[1:].lower())
                if is_metadata(path):
                    self.tables.append(path)
                    continue
                if slot is None:
                    self.passed_over[path.suffix or path.name] += 1
                    continue
                group = groups.setdefault(path.stem, {})
                if slot in group:
                    raise ValueError(
                        f"one sample with two files for its {slot}: {group[slot]}, {path}"
                    )
                group[slot] = path
            inside = folder.relative_to(self.root)
            yield from (((inside / stem).as_posix(), groups[stem]) for stem in sorted(groups))


def to_record(key: str, parts: Mapping[str, Any], split: str, census: Census) -> Record | Rejection:
    """A record of the files of a sample by slot: words as bytes, media as bytes or paths.

    Texts and their language may be in the json. Where that is damaged, there is no telling what
    the text is: it is left out as well.
    """
    faults: dict[str, str] = {}
    meta: dict[str, Any] = {}
    try:
        meta = decode_json(parts["json"]) if parts.get("json") else {}
    except ValueError as error:
        faults["json"] = str(error)
    text = None
    if parts.get("text") and not faults:
        # What is no UTF-8 is rejected when the sample is packed.
        text = parts["text"].decode("utf-8", "surrogateescape").strip() or None
        census.add("text file", "text")
    language = meta.pop("language", None)
    fields = {field: meta.pop(field) for field in TEXT_FIELDS if field in meta}
    for field in fields:
        census.add(f"json: {field}", "text")
    texts, language, others = read_texts(fields, language, text)
    census.add_meta(meta)
    add_names(meta, others)
    if "class" in parts:
        meta["class"] = parts["class"].decode("utf-8", "replace").strip()
        census.add("cls", "class in the json, where training does not read it")
    for sense in ("image", "audio"):
        if sense in parts:
            census.add(f"{sense} file", sense)
    image, audio = parts.get("image"), parts.get("audio")
    return Record(key, image, audio, tuple(texts), language, split, meta=meta, faults=faults)
