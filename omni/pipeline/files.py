"""Which files a path means, and which of them are nobody's: the same at every door."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from braceexpand import braceexpand

LITTER = ("__macosx", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini")
"""folders and files that systems leave behind, in lower case"""
ABOUT = re.compile(r"__.*__")
"""names that webdataset keeps for what is said about a tar, such as __meta__"""


def is_litter(name: str) -> bool:
    """Whether a file is hidden or left by a system: no part of any sample.

    It is judged by every part of its relative path, so that all of a hidden folder is litter.
    """
    parts = _parts(name)
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


def is_of_sample(name: str) -> bool:
    """Whether a member of a tar is part of a sample: neither litter nor about the tar itself."""
    return not is_litter(name) and not any(ABOUT.fullmatch(part) for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]


def walk_files(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder below `root` and the sorted names of its files, litter left out.

    Links to folders are followed, but none into a folder that is being walked already: that would
    never end.
    """
    yield from _walk(root, ())


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[tuple[Path, list[str]]]:
    real = os.path.realpath(folder)
    if real in above:
        return
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    visible = [entry for entry in entries if not is_litter(entry.name)]
    yield folder, [entry.name for entry in visible if not entry.is_dir()]
    for entry in visible:
        if entry.is_dir():
            yield from _walk(folder / entry.name, (*above, real))


def match_files(path: str) -> list[Path]:
    """Return the files that a path means, in order.

    What is there is meant as it is written, whatever its letters, and so is the beginning of a
    path as far as it is there. In the rest, braces are expanded as webdataset does,
    {000000..000012} or {a,b}, and then * ? [] are wildcards. Raises `ValueError` where braces name
    a file that is not there.
    """
    root, rest = _split_literal(Path(path))
    if not rest:
        return [root] if root.is_file() else []
    names = expand_braces(rest)
    files: list[Path] = []
    for name in names:
        matches = _match(root / name)
        if not matches and len(names) > 1:
            raise ValueError(f"no such file: {str(root / name)!r}, which {path!r} names by braces")
        files += matches
    return files


def expand_braces(pattern: str) -> list[str]:
    """Return the names that a pattern with braces stands for; without any, itself."""
    if "{" not in pattern:
        return [pattern]
    try:
        return [*braceexpand(pattern)]
    except ValueError as error:
        raise ValueError(f"braces must be closed, got {pattern!r}") from error


def _match(path: Path) -> list[Path]:
    root, rest = _split_literal(path)
    matches = root.glob(rest) if rest else [root]
    return sorted(match for match in matches if match.is_file())


def _split_literal(path: Path) -> tuple[Path, str]:
    """Return the beginning of a path that is there, and what follows it."""
    root, parts = Path(path.anchor or "."), [*path.relative_to(path.anchor).parts]
    while parts and (root / parts[0]).exists():
        root /= parts.pop(0)
    return root, "/".join(parts)
