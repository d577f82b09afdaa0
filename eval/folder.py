"""A folder of classes, as torchvision's ImageFolder has it: SPLIT/CLASS/FILE.

Beside the splits may lie `classes.json`, {folder of a class: its name or names}, as ImageNet's
need; otherwise a class is called what its folder is, underscores being spaces. `templates.json`
holds the prompts in which the names are embedded, such as ["a photo of a {}."]; otherwise ["{}"].
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import torch

import omni
from eval.classes import Classes, read_names, read_templates
from omni.items import Item
from omni.pipeline.files import is_litter, walk_files
from omni.pipeline.formats import FORMATS

SPLITS = ("train", "val", "test")
BLOCK = 512
"""files that are in memory at a time"""
KINDS = {
    ending: form.modality for ending, form in FORMATS.items() if form.modality in ("image", "audio")
}
"""modality of a file by its ending"""


class Folder(Classes):
    """The files of a folder of classes, none of them read yet; `train` and `val` may be missing.

    Attributes:
        files: those of each split, in order.
        classes: folders of the classes, sorted: those of `train`, or else of `test`.

    Raises:
        ValueError: naming the path, for a class that is empty or that train lacks, for files that
            are neither picture nor recording or some of each, and for json that is not as above.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        splits = {split: found for split in SPLITS if (found := find(self.path / split))}
        if "test" not in splits:
            raise ValueError(f"{self.path} must hold test/CLASS/FILE, or no class is asked for")
        self.classes = [*splits.get("train", splits["test"])]
        self._check(splits)
        self.files = {s: [f for c in found for f in found[c]] for s, found in splits.items()}
        self.labels = {
            s: [number for number, c in enumerate(self.classes) for _ in found.get(c, ())]
            for s, found in splits.items()
        }
        senses = {KINDS[kind(file)]: file for files in self.files.values() for file in files}
        if len(senses) > 1:
            some = " and ".join(map(str, senses.values()))
            raise ValueError(f"files must be all pictures or all recordings, got {some}")
        (self.sense,) = senses
        known = [split for split in ("train", "val") if split in splits]
        self.trials = {"test": known if "train" in known else []}
        self.names = read_names(self.path / "classes.json", self.classes)
        self.templates = read_templates(self.path / "templates.json")

    def _check(self, splits: dict[str, dict[str, list[Path]]]) -> None:
        """Whether there is something to tell apart, and to learn it from."""
        if len(self.classes) < 2:
            raise ValueError(f"{self.path} must hold two classes at least, got {self.classes}")
        for split, found in splits.items():
            for name, files in found.items():
                place = self.path / split / name
                if name not in self.classes:
                    raise ValueError(f"{place}: its class must be in train, too")
                if split == "train" and "val" not in splits and len(files) < 2:
                    raise ValueError(f"{place}: without val/ a class must hold two files, got one")

    def items(self, split: str) -> Iterator[list[Item]]:
        """The files of a split, `BLOCK` at a time."""
        files = self.files[split]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # decoders leave the interpreter
            for start in range(0, len(files), BLOCK):
                yield list(pool.map(omni.read, files[start : start + BLOCK]))

    @property
    def galleries(self) -> dict[str, int]:
        """How many files are asked for."""
        return {"test": len(self.files["test"])}

    @property
    def licences(self) -> list[str]:
        """None are told."""
        return []

    @cached_property
    def digest(self) -> str:
        """sha256 over names and sizes of the files, and all that is said of the classes."""
        whole = hashlib.sha256(json.dumps([self.classes, self.names, self.templates]).encode())
        for file in (file for files in self.files.values() for file in files):
            whole.update(f"{file.relative_to(self.path)} {file.stat().st_size}\n".encode())
        return whole.hexdigest()


def find(split: Path) -> dict[str, list[Path]]:
    """The files of every class of a split, however deep; those of `is_litter` do not count."""
    found = {}
    for place in sorted(p for p in split.glob("*") if p.is_dir() and not is_litter(p.name)):
        files = sorted(folder / name for folder, names in walk_files(place) for name in names)
        if not files:
            raise ValueError(f"{place}: a class must hold a file at least, this one is empty")
        if strange := [file for file in files if kind(file) not in KINDS]:
            raise ValueError(f"{strange[0]}: the ending must be one of {', '.join(KINDS)}")
        found[place.name] = files
    return found


def kind(file: Path) -> str:
    """The ending of a file's name, without the dot."""
    return file.suffix.lower().removeprefix(".")
