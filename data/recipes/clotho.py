"""Clotho 2.1: sounds of 15 to 30 seconds with five captions each.

In `root`, as unpacked: `clotho_captions_{development,validation,evaluation}.csv` and the folders
`development/`, `validation/` and `evaluation/`, which become train, val and test. One sample a
sound. Meta: `file_name`.
Drossos et al., "Clotho: An Audio Captioning Dataset", 2020.
"""

from collections.abc import Iterator
from pathlib import Path

from data.recipes import files
from data.record import Record

PAGE = "https://zenodo.org/records/4783391"
SPLITS = {"development": "train", "validation": "val", "evaluation": "test"}
CAPTIONS = tuple(f"caption_{n}" for n in range(1, 6))


def read(root: Path) -> Iterator[Record]:
    """Yield the sounds of the user's copy."""
    return files.present(_records(root), "clotho", PAGE)


def _records(root: Path) -> Iterator[Record]:
    names = {folder: f"clotho_captions_{folder}.csv" for folder in SPLITS}
    for folder, path in files.find(root, names, PAGE).items():
        for row in files.rows(path, ("file_name", *CAPTIONS)):
            yield Record(
                key=row["file_name"].removesuffix(".wav"),
                audio=root / folder / row["file_name"],
                texts=tuple(row[caption].strip() for caption in CAPTIONS),
                split=SPLITS[folder],
                meta={"file_name": row["file_name"]},
            )
