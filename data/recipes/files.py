"""What the recipes ask of the user's copy: annotations that must be there, media that may not."""

import csv
import json
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.record import Record


def find(root: Path, names: Mapping[str, str], page: str) -> dict[str, Path]:
    """Those of the named files or folders that are in `root`, by their label.

    Raises `ValueError`, which names them and the page to download them from, if none is there.
    """
    found = {label: root / name for label, name in names.items() if (root / name).exists()}
    if not found:
        expected = " or ".join(dict.fromkeys(names.values()))
        raise ValueError(f"{root} must hold {expected}; to be had from {page}")
    return found


def require(path: Path, page: str) -> Path:
    """The path itself. Raises `ValueError` if nothing is there."""
    if not path.exists():
        raise ValueError(f"{path} is missing; to be had from {page}")
    return path


def present(records: Iterable[Record], corpus: str, page: str) -> Iterator[Record]:
    """Yield the records without the media that are missing, and at the end warn how many are.

    Large corpora are seldom complete. A record of which nothing but text is left is not yielded;
    one that was meant to be text is. Raises `ValueError` if no record is left at all.
    """
    first, num_media, num_missing, num_records, num_kept = None, 0, 0, 0, 0
    for record in records:
        media = [medium for medium in (record.image, record.audio) if medium is not None]
        missing = [medium for medium in media if isinstance(medium, Path) and not medium.is_file()]
        num_records += 1
        num_media += len(media)
        num_missing += len(missing)
        if missing:
            first = first or missing[0]
            if len(missing) == len(media):
                continue
            image = None if record.image in missing else record.image
            audio = None if record.audio in missing else record.audio
            record = replace(record, image=image, audio=audio)
        num_kept += 1
        yield record
    if not num_records:
        raise ValueError(f"the annotations of {corpus} are empty; to be had from {page}")
    if not num_kept:
        raise ValueError(
            f"{corpus}: none of {num_media} media is there, the first is {first}; "
            f"to be had from {page}"
        )
    if num_missing:
        warnings.warn(
            f"{corpus}: {num_missing} of {num_media} media are missing, therefore "
            f"{num_records - num_kept} of {num_records} samples are left out; the first is {first}",
            stacklevel=2,
        )


def entries(path: Path, field: str, fields: Iterable[str]) -> list[dict[str, Any]]:
    """The list that a JSON file holds under `field`; each of its objects has all `fields`."""
    content = _parse(path.read_bytes(), str(path))
    listed = check(content, (field,), str(path))[field]
    if not isinstance(listed, list):
        raise ValueError(f"{field} of {path} must be a list, got {type(listed).__name__}")
    return [check(entry, fields, f"{field}[{i}] of {path}") for i, entry in enumerate(listed)]


def lines(path: Path, fields: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; each has all `fields`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"line {number} of {path}"
                yield check(_parse(line, where), fields, where)


def rows(
    path: Path, fields: Iterable[str], numbers: Collection[str] = ()
) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header; each has all `fields`, of which some are integers."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                where = f"line {reader.line_num} of {path}"
                check(row, fields, where)
                for field in numbers:
                    if not re.fullmatch(r"-?\d+", row[field].strip()):
                        raise ValueError(f"{field} in {where} must be integer, got {row[field]!r}")
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} must be CSV in UTF-8: {error}") from error


def check(entry: Any, fields: Iterable[str], where: str) -> dict[str, Any]:
    """The entry itself. Raises `ValueError` if it is no object, or lacks one of `fields`."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object, got {type(entry).__name__}")
    lacking = [field for field in fields if entry.get(field) is None]
    if lacking:
        raise ValueError(f"{where} must have {', '.join(fields)}; it lacks {', '.join(lacking)}")
    return entry


def _parse(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"{where} must be JSON: {error}") from error
