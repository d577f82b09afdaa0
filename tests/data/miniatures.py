"""Files of the miniature copies that the recipes are tested on."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from data.record import Record


def write(path: Path, content: object = "") -> Path:
    """Write text as it is, a list of rows as CSV, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


class Case(NamedTuple):
    """A miniature, and the annotations without which it cannot be read."""

    recipe: str
    build: Callable[[Path], Iterator[Record]]
    annotations: str


def media(record: Record) -> list[Path]:
    return [path for path in (record.image, record.audio) if path is not None]
