"""Files of the miniature copies that the recipes are tested on."""

import csv
import json
from pathlib import Path


def write(path: Path, content: object = "") -> Path:
    """Write text as it is, a list of rows as CSV, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path
