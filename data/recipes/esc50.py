"""ESC-50: five-second sounds of 50 classes.

In `root`, as unpacked: `meta/esc50.csv` and `audio/`. The five folds are the splits (`fold1` to
`fold5`): results are means over training on four and testing on the fifth. One sample a sound; its
text is the class. Meta: `fold`, `target`, `category`, `esc10`.
Piczak, "ESC: Dataset for Environmental Sound Classification", 2015.
"""

from collections.abc import Iterator
from pathlib import Path

from data.recipes import files
from data.record import Record

PAGE = "https://github.com/karolpiczak/ESC-50"
FIELDS = ("filename", "fold", "target", "category", "esc10")
NUMBERS = ("fold", "target")


def read(root: Path) -> Iterator[Record]:
    """Yield the sounds of the user's copy."""
    return files.present(_records(root), "esc50", PAGE)


def _records(root: Path) -> Iterator[Record]:
    for row in files.rows(files.require(root / "meta/esc50.csv", PAGE), FIELDS, NUMBERS):
        yield Record(
            key=row["filename"].removesuffix(".wav"),
            audio=root / "audio" / row["filename"],
            texts=(row["category"].replace("_", " "),),
            split=f"fold{row['fold']}",
            meta={
                "fold": int(row["fold"]),
                "target": int(row["target"]),
                "category": row["category"],
                "esc10": row["esc10"] == "True",
            },
        )
