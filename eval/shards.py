"""Packed shards of any data set: what their samples hold, and the media a few at a time.

Of a large test set nothing stays in memory but texts and numbers: pictures and recordings are
read, decoded and handed out in blocks, and only the senses that are asked for are decoded.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.corpus import item, keyed
from omni.batch import Sample
from omni.items import Item
from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import SLOTS, senses_of
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_sample

BLOCK = 256
"""items that are in memory at a time"""
RATE = 16_000
"""Hz of the recordings that are handed out"""
FOLDS = "folds"
"""all of fold1, fold2 … as one split"""
USUAL = ("test", "val", FOLDS)
"""the split that is measured unless another is named: the first of these that is there"""


class UnfitError(ValueError):
    """Shards on which a task cannot be measured, and why."""


@dataclass(frozen=True)
class Entry:
    """One sample without its media.

    Attributes:
        number: its place in the split.
        key: its name in the shard.
        senses: which it has.
        texts: all in its own language, the one of `txt` first.
        language: of the texts, as in BCP 47.
        thing: what it shows; samples that show the same (`concept`, or else the same picture by
            `image_id`) are right answers to each other.
        picture: the same where two samples hold the very same picture.
        meta: what else is known.
    """

    number: int
    key: str
    senses: frozenset[str]
    texts: tuple[str, ...]
    language: str
    thing: str
    picture: str
    meta: dict[str, Any]


class Shards:
    """A folder of SPLIT-*.tar, of which one split is measured.

    Raises:
        ValueError: the folder holds no shards, or none of that split.
    """

    def __init__(self, path: str | Path, split: str | None = None) -> None:
        self.path = Path(path)
        self.splits = sorted({p.name.rsplit("-", 1)[0] for p in self.path.glob("*-*.tar")})
        if not self.splits:
            raise ValueError(f"{self.path} holds no SPLIT-*.tar: run `python -m data.prepare pack`")
        self.folds = [name for name in self.splits if re.fullmatch(r"fold\d+", name)]
        self.splits += [FOLDS] if self.folds else []
        chosen = split or next((name for name in USUAL if name in self.splits), None)
        if chosen not in self.splits:
            raise ValueError(
                f"--split must be one of {', '.join(self.splits)}, which {self.path} holds; "
                f"got {chosen or 'none'}"
            )
        self.split = str(chosen)
        self._entries: dict[str, list[Entry]] = {}
        self._datasets: dict[str, Dataset] = {}

    @property
    def digest(self) -> str:
        """sha256 over the fingerprints of the splits that were read."""
        names = sorted({self.split, *self._datasets})
        lines = (f"{name} {self.dataset(name).fingerprint}\n" for name in names)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def galleries(self) -> dict[str, int]:
        """Samples of the split."""
        return {self.split: len(self.dataset(self.split))}

    @property
    def licences(self) -> list[str]:
        """None are told: the report shows none of the media."""
        return []

    def dataset(self, split: str) -> Dataset:
        """The shards of a split with their indexes."""
        if split not in self._datasets:
            self._datasets[split] = Dataset(str(self.path), "fold*" if split == FOLDS else split)
        return self._datasets[split]

    def entries(self, split: str | None = None) -> list[Entry]:
        """All samples of the split, or of another one. Raises `ValueError` for a damaged one."""
        name = split or self.split
        if name not in self._entries:
            self._entries[name] = list(_entries(self.dataset(name)))
        return self._entries[name]

    def items(
        self, numbers: Sequence[int], senses: str, split: str | None = None
    ) -> Iterator[list[Item]]:
        """Samples in `senses`, joined by +, in blocks of `BLOCK`.

        Raises `ValueError`, naming shard, sample and member, for one that is damaged.
        """
        dataset, named = self.dataset(split or self.split), senses.split("+")
        wanted = (*(e for e, slot in SLOTS.items() if slot in named), "json")

        def decode(found: tuple[str, dict[str, bytearray], str]) -> Item:
            key, members, shard = found
            return item(decode_sample(key, members, RATE, shard), senses)

        # Decoders leave the interpreter to others; a reader has one memory.
        with (
            closing(Reader(dataset)) as reader,
            ThreadPoolExecutor(torch.get_num_threads()) as pool,
        ):
            for start in range(0, len(numbers), BLOCK):
                found = [
                    (reader.key(n), reader.content(n, wanted), dataset.locate(n)[0].name)
                    for n in numbers[start : start + BLOCK]
                ]
                yield list(pool.map(decode, found))


def _entries(dataset: Dataset) -> Iterator[Entry]:
    masks = dataset.column("senses", np.arange(len(dataset)))
    with closing(Reader(dataset)) as reader:
        for number, mask in enumerate(masks.tolist()):
            key, told = reader.key(number), reader.content(number, ("txt", "json"))
            sample = decode_sample(key, told, RATE, dataset.locate(number)[0].name)
            yield _entry(number, sample, frozenset(senses_of(mask)))


def _entry(number: int, sample: Sample, senses: frozenset[str]) -> Entry:
    meta, texts = sample.meta, tuple(dict.fromkeys(sample.texts.get(sample.language, ())))
    picture = f"sample {number}"
    if "image_id" in meta:  # of one data set, as some are made of several
        picture = " ".join(str(meta.get(field)) for field in ("dataset", "task", "image_id"))
    thing = str(meta.get("concept", picture))
    return Entry(number, sample.key, senses, texts, sample.language, thing, picture, meta)


def few(entries: Sequence[Entry], limit: int, seed: int) -> list[Entry]:
    """At most `limit`, chosen by seed and key, in their order; fewer are a part of more."""
    found = sorted(entries, key=lambda entry: keyed(seed, entry.key))[:limit]
    return sorted(found, key=lambda entry: entry.number)
