"""Tables of samples: CSV, TSV, JSON lines and Parquet, with one row a sample.

Columns `image` and `audio` hold paths relative to the table's folder, or in Parquet the bytes
(also as a struct of `bytes` and `path`); `file_name` or `*_file_name`, as of Hugging Face's
imagefolder and audiofolder, the path of whichever of these its ending says. `text`, `caption`,
`captions`, `transcript` or `transcription` hold a text, several, or texts by language; a number is
read as it is written. `key`, `language`, `split`, `start` and `stop` (seconds) are what they are
of a `Record`. All other columns go to the json of the sample. Around names of columns, and around
the fields of CSV and TSV, white space does not count, nor do capitals in the names above.
"""

import ast
import csv
import datetime
import decimal
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.prepare.fields import PLACES, Census, add_names, read_texts
from data.prepare.media import SLOTS
from data.prepare.splits import split_of
from data.record import Record, Rejection
from omni.pipeline.decode import TEXT_FIELDS

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
MEDIA = ("image", "audio")
FILE = "file_name"
OWN = (*MEDIA, *TEXT_FIELDS, *PLACES)
ROWS = 64
"""rows of Parquet that are in memory at a time"""


class Tables:
    """The rows of one table, or of several in order."""

    def __init__(self, files: list[Path], split: str | None) -> None:
        self.files, self.split = files, split
        self.passed_over, self.census = Counter[str](), Census()
        parquet = [file for file in files if file.suffix == ".parquet"]
        self.total = sum(map(_num_rows, parquet)) if parquet == files else None

    def __iter__(self) -> Iterator[Record | Rejection]:
        number = 0
        for file in self.files:
            for row in read_table(file):
                number += 1
                yield self.record(row, file.parent, number)

    def record(self, given: dict[str, Any], folder: Path, number: int) -> Record | Rejection:
        """The sample of a row, whose columns are as `read_table` gives them."""
        key, split = f"{number:08d}", self.split or "train"
        try:
            row = self._place_files(given)
            paths = (_path(row.get(sense)) for sense in MEDIA)
            named = (str(Path(path).with_suffix("")) for path in paths if path is not None)
            key = str(row.get("key") or next(named, key))
            split = str(row.get("split") or self.split or _split_of_files(given) or split)
            meta = {name: _plain(row[name]) for name in row if name not in OWN}
            meta = {name: value for name, value in meta.items() if value not in (None, "")}
            texts, language, others = read_texts(row, row.get("language") or None)
            record = Record(
                key,
                image=_medium(row.get("image"), folder),
                audio=_medium(row.get("audio"), folder),
                texts=tuple(texts),
                language=language,
                split=split,
                start=_seconds(row.get("start")),
                stop=_seconds(row.get("stop")),
                meta=meta,
            )
        except ValueError as error:
            return Rejection(key, "row", str(error), split)
        self.census.add_meta(meta)
        add_names(meta, others)
        for name in given.keys() & {*OWN}:
            if row[name] not in (None, "", []):
                self.census.add(name, "text" if name in TEXT_FIELDS else name)
        return record

    def _place_files(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the files of its `file_name` columns where their endings say.

        Beside a picture that has its own column, a name of a picture is only a name. Raises
        `ValueError` for two files of one kind, and where no medium is left.
        """
        columns = [name for name in row if _is_file(name) and row[name] not in (None, "")]
        media = [sense for sense in MEDIA if row.get(sense) not in (None, "")]
        files: dict[str, str] = {}
        for name in columns:
            slot = SLOTS.get(Path(str(row[name])).suffix[1:].lower(), "")
            if slot in files:
                raise ValueError(f"two files for its {slot}: {row[files[slot]]}, {row[name]}")
            if slot in MEDIA and slot not in media:
                files[slot] = name
        if columns and not media and not files:
            known = ", ".join(ending for ending in SLOTS if SLOTS[ending] in MEDIA)
            raise ValueError(f"{columns[0]} must end in one of {known}; got {row[columns[0]]!r}")
        for slot, name in files.items():
            self.census.add(name, slot)
        placed = {name: value for name, value in row.items() if name not in files.values()}
        return placed | {slot: row[name] for slot, name in files.items()}


def read_table(file: Path) -> Iterator[dict[str, Any]]:
    """Yield each row by column, known names as they are written in `OWN`.

    Raises `ValueError` where the table is not as it must be.
    """
    try:
        for row in _rows(file):
            yield _tidy(row)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"table {str(file)!r}: {error}") from error


def _tidy(row: dict[str, Any]) -> dict[str, Any]:
    tidy = {_column(name): value for name, value in row.items()}
    if len(tidy) < len(row):
        raise ValueError(f"names of columns must differ, got {', '.join(row)}")
    return tidy


def _column(name: str) -> str:
    """The name that a column goes by."""
    name = name.strip()
    known = name.lower()
    return known if known in OWN or _is_file(known) else name


def _is_file(name: str) -> bool:
    return name == FILE or name.endswith(f"_{FILE}")


def _split_of_files(row: dict[str, Any]) -> str | None:
    """The split that the folders of its `file_name` say, as in Hugging Face's data sets."""
    files = (row[name] for name in row if _is_file(name) and row[name])
    return next((split for file in files if (split := split_of(Path(str(file)).parent))), None)


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
            reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
        _check_columns(reader.fieldnames or [])
        for row in reader:
            if None in row or None in row.values():
                columns = len(reader.fieldnames or [])
                raise ValueError(f"line {reader.line_num} must have {columns} fields")
            yield {name: _cell(name, text.strip()) for name, text in row.items()}


def _cell(name: str, text: str) -> Any:
    """The value of a field: of one that holds texts, a list or object of them, where it is one.

    As pandas writes lists, with single quotes, they are no JSON.
    """
    if _column(name) not in TEXT_FIELDS or text[:1] not in ("[", "{"):
        return text
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = parse(text)
            if isinstance(value, dict):
                return value
            if isinstance(value, list) and any(isinstance(v, str | dict) for v in value):
                return value
    return text


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
    columns = [_column(name) for name in names]
    if len({*columns}) < len(columns):
        raise ValueError(f"names of columns must differ, got {', '.join(columns)}")
    if not any(name in (*MEDIA, *TEXT_FIELDS) or _is_file(name) for name in columns):
        known = ", ".join((*MEDIA, *TEXT_FIELDS, FILE))
        raise ValueError(f"it must have one of the columns {known}; it has {', '.join(columns)}")


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
