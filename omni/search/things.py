"""The things of an index, found again where they lie: in a file, or in a sample of a shard."""

from functools import lru_cache
from pathlib import Path

from omni.items import Item, decode, read
from omni.names import to_file_name
from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import SLOTS
from omni.pipeline.reader import Reader, SampleError


def place(source: Path, split: str, number: int) -> str:
    """What the metadata say of a sample of shards: FOLDER/SPLIT#NUMBER."""
    return f"{source}/{split}#{number}"


def below(root: Path | None, where: str) -> Path | None:
    """A file below a folder, links followed, or anywhere; None for any other."""
    path = Path(to_file_name(where))
    return path if path.is_file() and _is_below(root, path) else None


def _is_below(root: Path | None, path: Path) -> bool:
    return root is None or path.resolve().is_relative_to(root.resolve())


def member(root: Path | None, where: str, sense: str) -> tuple[str, bytes] | None:
    """Extension and bytes of what a sample of shards below a folder holds; None for any other."""
    before, _, number = where.rpartition("#")
    source, split = Path(to_file_name(str(Path(before).parent))), Path(before).name
    if not (before and number.isdecimal() and _is_below(root, source)):
        return None
    try:
        reader = _reader(str(source), split)
        extensions = tuple(e for e, slot in SLOTS.items() if slot == sense)
        known = int(number) < len(reader.dataset)
        found = reader.content(int(number), extensions) if known else {}
    except (ValueError, OSError, SampleError):  # it is gone, or damaged
        return None
    return next(((extension, bytes(data)) for extension, data in found.items()), None)


def thing(root: Path | None, where: str, sense: str) -> Item | None:
    """The picture or recording itself; None where it does not lie below a folder any more.

    Raises `ValueError` for a file that is damaged.
    """
    if path := below(root, where):
        return read(path)
    found = member(root, where, sense)
    return decode(*found) if found else None


@lru_cache(maxsize=16)
def _reader(source: str, split: str) -> Reader:
    return Reader(Dataset(source, split))
