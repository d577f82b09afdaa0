"""Tables of samples: CSV, TSV, JSON lines and Parquet, with one row a sample.

Columns `image` and `audio` hold paths relative to the table's folder, or in Parquet the bytes
(also as a struct of `bytes` and `path`); `text`, `caption`, `captions`, `transcript` or
`transcription` hold a text or several; `key`, `language`, `split`, `start` and `stop` (seconds)
are what they are of a `Record`. All other columns go to the json of the sample.
"""

import csv
import datetime
import decimal
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from data.record import Record, Rejection
from omni.pipeline.decode import TEXT_FIELDS

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
MEDIA = ("image", "audio")
OWN = (*MEDIA, *TEXT_FIELDS, "key", "language", "split", "start", "stop")
ROWS = 64
"""rows of Parquet that are in memory at a time"""


class Tables:
    """The rows of one table, or of several in order."""

    def __init__(self, files: list[Path], split: str) -> None:
        self.files, self.split = files, split
        self.passed_over = Counter[str]()
        parquet = [file for file in files if file.suffix == ".parquet"]
        self.total = sum(map(_num_rows, parquet)) if parquet == files else None

    def __iter__(self) -> Iterator[Record | Rejection]:
        number = 0
        for file in self.files:
            try:
                for row in _rows(file):
                    number += 1
                    yield self._record(row, file.parent, number)
            except (ValueError, csv.Error) as error:
                raise ValueError(f"table {str(file)!r}: {error}") from error

    def _record(self, row: dict[str, Any], folder: Path, number: int) -> Record | Rejection:
        paths = (_path(row.get(sense)) for sense in MEDIA)
        named = (str(Path(path).with_suffix("")) for path in paths if path is not None)
        key = str(row.get("key") or next(named, f"{number:08d}"))
        split = str(row.get("split") or self.split)
        try:
            meta = {name: _plain(row[name]) for name in row if name not in OWN}
            return Record(
                key,
                image=_medium(row.get("image"), folder),
                audio=_medium(row.get("audio"), folder),
                texts=tuple(text for name in TEXT_FIELDS for text in _texts(row.get(name))),
                language=str(row.get("language") or "en"),
                split=split,
                start=_seconds(row.get("start")),
                stop=_seconds(row.get("stop")),
                meta={name: value for name, value in meta.items() if value not in (None, "")},
            )
        except ValueError as error:
            return Rejection(key, "row", str(error), split)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Each row by column. Raises `ValueError` where the table is not as it must be."""
    if file.suffix == ".parquet":
        yield from _parquet(file)
        return
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if file.suffix == ".jsonl":
            yield from _json_lines(lines)
            return
        if file.suffix == ".tsv":  # as its standard says: no quotes, no tabs in a field
            reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.DictReader(lines, strict=True)
        _check_columns(reader.fieldnames or [])
        for row in reader:
            if None in row or None in row.values():
                columns = len(reader.fieldnames or [])
                raise ValueError(f"line {reader.line_num} must have {columns} fields")
            yield row


def _json_lines(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if row is None:
            continue
        if not isinstance(row, dict):
            raise ValueError(f"line {number} must be an object")
        if number == 1:
            _check_columns(list(row))
        yield row


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    with _open_parquet(file) as table:
        _check_columns(table.schema_arrow.names)
        for batch in table.iter_batches(ROWS):
            yield from batch.to_pylist()


def _num_rows(file: Path) -> int:
    with _open_parquet(file) as table:
        return table.metadata.num_rows


def _open_parquet(file: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ValueError("Parquet needs pyarrow: pip install pyarrow") from error
    try:
        return ParquetFile(file)
    except ValueError as error:
        raise ValueError(f"table {str(file)!r}: {error}") from error


def _check_columns(names: Iterable[str]) -> None:
    names = list(names)
    if not set(names) & {*MEDIA, *TEXT_FIELDS}:
        known = ", ".join((*MEDIA, *TEXT_FIELDS))
        raise ValueError(f"it must have one of the columns {known}; it has {', '.join(names)}")


def _path(value: Any) -> str | None:
    """The path that a cell names."""
    if isinstance(value, dict):
        value = value.get("path")
    return value if isinstance(value, str) and value else None


def _medium(value: Any, folder: Path) -> Path | bytes | None:
    """What a cell of `image` or `audio` holds. Raises `ValueError` for anything else."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return data
    path = _path(value)
    if path is None and data not in (None, ""):
        raise ValueError(f"image and audio must be paths or bytes, got {type(data).__name__}")
    return None if path is None else folder / path


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text.strip()]


def _seconds(value: Any) -> float | None:
    seconds = None if value in (None, "") else float(value)
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"start and stop must be seconds, got {value!r}")
    return seconds


def _plain(value: Any) -> Any:
    """As JSON has it. Raises `ValueError` for what it has not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time | decimal.Decimal):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"a column must be text or numbers, got {type(value).__name__}")
