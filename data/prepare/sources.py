"""What can be packed: a folder, tables, foreign tars, a known data set. Each yields its records."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

from data.prepare.fields import Census
from data.prepare.folder import Folder, is_metadata, to_record
from data.prepare.media import SLOTS
from data.prepare.splits import NUMBER, split_name
from data.prepare.tables import TABLES, Tables
from data.record import Record, Rejection
from omni.pipeline.files import match_files
from omni.pipeline.stream import stream_members

TARS = (".tar", ".tar.gz", ".tgz")


class Source(Protocol):
    """Records in an order that is the same every time; `total` is their number where known."""

    total: int | None

    @property
    def passed_over(self) -> Counter[str]:
        """Counts files that are no part of any."""
        ...

    @property
    def census(self) -> Census:
        """Counts what became of columns and fields."""
        ...

    def __iter__(self) -> Iterator[Record | Rejection]:
        """Lists the records."""
        ...


def open_source(path: str, recipe: str | None, split: str | None) -> Source:
    """Finds out what a path is. Raises `ValueError` for what cannot be packed.

    `split` is that of all samples; None where names of folders and files may say it.
    """
    if recipe is not None:
        if split is not None:
            raise ValueError("--split: a recipe says itself to which split a sample belongs")
        return Recipe(recipe, Path(path))
    folder = Path(path)
    if not folder.is_dir():
        files = match_files(path)
        if files and all(file.name.endswith(TARS) for file in files):
            return _open_files(files, split)
        if files and all(file.suffix.lower() in TABLES for file in files):
            return _open_files(files, split)
        known = ", ".join((*TARS, *TABLES))
        raise ValueError(f"{path!r} must be a folder, or files that end in one of {known}")
    split = split or split_name(folder.resolve().name)
    if files := _shards(folder):
        return _open_files(files, split, one_split=True)
    parts = [part for part in sorted(folder.iterdir()) if part.is_dir() and split_name(part.name)]
    if any(_shards(part) for part in parts):
        names = [split or split_name(part.name) for part in parts]
        opened = zip(parts, names, strict=True)
        return Several([open_source(str(part), None, name) for part, name in opened])
    return Folder(folder, split)


def _shards(folder: Path) -> list[Path]:
    """The tars of a folder, or else the Parquet files that hold samples of their own."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    if tars := [file for file in files if file.name.endswith(TARS)]:
        return tars
    return [file for file in files if file.suffix == ".parquet" and not is_metadata(file)]


def _open_files(files: list[Path], split: str | None, one_split: bool = False) -> Source:
    """Tars or tables, each of the split that its name says where none is given.

    Raises `ValueError` where they must be of `one_split` and names differ that say none.
    """
    kind = Tars if files[0].name.endswith(TARS) else Tables
    stems = {file: NUMBER.sub("", file.name.partition(".")[0]) for file in files}
    names = sorted({*stems.values()})
    by_name = all(split_name(name) for name in names)
    if one_split and len(names) > 1 and (split is not None or not by_name):
        folder = files[0].parent
        raise ValueError(
            f"{str(folder)!r} seems to hold several splits: {', '.join(names)}; "
            f"pack one at a time, as '{folder}/{names[-1]}*' with --split {names[-1]}"
        )
    if split is not None or not by_name:
        return kind(files, split)
    parts: dict[str | None, list[Path]] = {}
    for file, stem in stems.items():
        parts.setdefault(split_name(stem), []).append(file)
    sources = [kind(part, name) for name, part in parts.items()]
    return sources[0] if len(sources) == 1 else Several(sources)


class Several:
    """Sources one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        totals = [source.total for source in sources if source.total is not None]
        self.total: int | None = sum(totals) if len(totals) == len(sources) else None

    @property
    def passed_over(self) -> Counter[str]:
        """Of all of them."""
        return sum((source.passed_over for source in self.sources), Counter[str]())

    @property
    def census(self) -> Census:
        """Of all of them."""
        census = Census()
        for source in self.sources:
            census.counts += source.census.counts
        return census

    def __iter__(self) -> Iterator[Record | Rejection]:
        return chain.from_iterable(self.sources)


class Recipe:
    """A user's own copy of a known data set."""

    def __init__(self, name: str, root: Path) -> None:
        from data.recipes import RECIPES  # which imports the readers of other libraries

        if name not in RECIPES:
            raise ValueError(f"--recipe must be one of {', '.join(RECIPES)}; got {name!r}")
        self.read, self.root = RECIPES[name], root
        self.total: int | None = None
        self.passed_over, self.census = Counter[str](), Census()

    def __iter__(self) -> Iterator[Record | Rejection]:
        return iter(self.read(self.root))


class Tars:
    """The tars of others, which webdataset reads; their extensions may be odd."""

    def __init__(self, files: list[Path], split: str | None) -> None:
        self.files, self.split = files, split or "train"
        self.total: int | None = None
        self.passed_over, self.census = Counter[str](), Census()

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
        return to_record(key, parts, self.split, self.census)
