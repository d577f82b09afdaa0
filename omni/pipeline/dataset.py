"""A data set: the shards of one split with their indexes, and any sample by its number."""

import hashlib
import json
import os
import re
from bisect import bisect_right
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from omni.pipeline import remote
from omni.pipeline.files import expand_braces, match_files
from omni.pipeline.index import RULES, Index, build_index
from omni.pipeline.transfer import MissingError, list_names, read
from omni.progress import track

MANIFEST = "dataset.json"
"""beside shards: their sizes, digests and counts"""
QUIET_BYTES = 256 << 20
"""indexing less than this shows no progress bar"""


@dataclass(frozen=True)
class Shard:
    """One tar: where it is, and its index. `sha256` is known where there is a manifest."""

    url: str
    index: Index
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of samples of each set of senses, by mask [8]."""
        return np.bincount(self.index.samples["senses"], minlength=8)[:8]

    def rows(self, mask: int) -> np.ndarray:
        """The rows of the samples that have just these senses."""
        return _rows(self.index, mask)


@lru_cache(maxsize=256)
def _rows(index: Index, mask: int) -> np.ndarray:
    return np.flatnonzero(index.samples["senses"] == mask)


class Dataset:
    """The shards of a split.

    Args:
        path: a folder, in which the shards are SPLIT-*.tar; or the tars themselves, as one file
            or a pattern such as `shards/*.tar` or `shards/{000..012}.tar`, where what is there is
            meant as it is written; or the URL of a folder with a `dataset.json`, or of tars.
        split: the part of the folder; of no meaning where `path` names the tars.
        ignore: extensions of members that are passed over.

    Raises:
        ValueError: there are no shards, or one of them is not as it must be.
    """

    def __init__(self, path: str, split: str = "train", ignore: tuple[str, ...] = ()) -> None:
        self.path, self.split = path, split
        if remote.is_remote(path):
            self.shards = remote_shards(path, split, ignore)
        else:
            self.shards = local_shards(path, split, ignore)
        self.shards = [shard for shard in self.shards if len(shard.index)]  # a tar may be empty
        if not self.shards:
            raise ValueError(f"{path!r} holds no samples: every tar of it is empty")
        self.starts = np.cumsum([0, *(len(shard.index) for shard in self.shards)])
        self._ends = self.starts[1:].tolist()

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def name(self) -> str:
        return f"{self.path} ({self.split})"

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any byte, size or name of any shard that the indexes know of."""
        state = hashlib.sha256()
        for shard in self.shards:
            state.update(f"{shard.name} {shard.index.digest}\n".encode())
        return state.hexdigest()[:16]

    def beside(self, name: str) -> str | None:
        """The text of a file in the folder of the shards; None where there is none."""
        if remote.is_remote(self.path):
            url = self.path.rstrip("/")
            folder = url.rpartition("/")[0] if url.endswith(".tar") else url
            try:
                return read(f"{folder}/{name}").decode()
            except MissingError:
                return None
        file = Path(self.path) / name
        return file.read_text("utf-8") if file.is_file() else None

    @cached_property
    def languages(self) -> Counter[str]:
        """How many samples have texts in each language. Raises `ValueError` where that is not told.

        The manifest says so, which must be of these very shards.
        """
        text = self.beside(MANIFEST)
        told = {entry["name"]: entry for entry in json.loads(text)["shards"]} if text else {}
        found: Counter[str] = Counter()
        for shard in self.shards:
            entry = told.get(shard.name, {})
            if "languages" not in entry or entry["index"] != shard.index.digest:
                raise ValueError(
                    f"how often {shard.url} has each language must be in the {MANIFEST} of the "
                    f"folder that data.path names: run python -m data.prepare index FOLDER"
                )
            found.update(entry["languages"])
        return found

    def locate(self, number: int) -> tuple[Shard, int]:
        """The shard and the row in it of a sample's number."""
        at = bisect_right(self._ends, number)
        return self.shards[at], number - (self._ends[at - 1] if at else 0)

    def column(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """A column of the index for samples in any order."""
        at = np.searchsorted(self.starts, numbers, "right") - 1
        values = np.zeros(len(numbers), np.int64)
        for shard in np.unique(at):
            mine = at == shard
            rows = numbers[mine] - self.starts[shard]
            values[mine] = self.shards[shard].index.samples[name][rows]
        return values


def local_shards(path: str, split: str, ignore: tuple[str, ...]) -> list[Shard]:
    """Finds the tars; takes the index beside each, or builds what is missing once and keeps it."""
    tars = find_tars(path, split)
    digests = _digests(Path(path) / MANIFEST) if Path(path).is_dir() else {}
    total = sum(tar.stat().st_size for tar in tars if not tar.with_suffix(".idx").exists())
    # Reading and crc32 leave the interpreter to others: threads are enough.
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        found = pool.map(lambda tar: open_index(tar, ignore), tars)
        long = total >= QUIET_BYTES
        indexes = list(track(found, "reading shards", len(tars)) if long else found)
    return [
        Shard(str(tar), index, digests.get(tar.name))
        for tar, index in zip(tars, indexes, strict=True)
    ]


def find_tars(path: str, split: str) -> list[Path]:
    """The tars of a split in order. Raises `ValueError` when there are none."""
    folder = Path(path)
    if folder.is_dir():
        tars = sorted(folder.glob(f"{split}-*.tar"))
        if not tars:
            splits = sorted({p.name.rsplit("-", 1)[0] for p in folder.glob("*-*.tar")})
            raise ValueError(
                f"no shards {split}-*.tar in {path!r}; splits there: {', '.join(splits) or 'none'}"
                f"; tars of other names are taken by a pattern: '{path}/*.tar'"
            )
        return tars
    if tars := match_files(path):
        return tars
    raise ValueError(
        f"no such shards: {path!r}; it may be a folder, a tar, or a pattern such as "
        f"'shards/*.tar' or 'shards/train-{{000000..000012}}.tar'"
    )


def open_index(tar: Path, ignore: tuple[str, ...] = ()) -> Index:
    """The index beside a tar, or one built by reading it, which is kept in the user's cache.

    Raises `ValueError`, naming the shard, where the tar is damaged or not the one indexed.
    """
    size, beside = tar.stat().st_size, tar.with_suffix(".idx")
    try:
        if beside.exists():
            index = Index.load(beside)
            if index.tar_bytes != size:
                raise ValueError(
                    f"it has {size} bytes, its index says {index.tar_bytes}: it was cut or "
                    f"changed; if that is right, run python -m data.prepare index"
                )
            return index
        kept = _kept(tar, ignore)
        if kept.exists():
            return Index.load(kept)
        index = build_index(tar, ignore)
    except ValueError as error:
        raise ValueError(f"shard {str(tar)!r}: {error}") from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    index.save(kept)
    return Index.load(kept)


def _kept(tar: Path, ignore: tuple[str, ...]) -> Path:
    """A name that another path, size, time or rule makes another."""
    state = tar.stat()
    file = f"{tar.resolve()} {state.st_size} {state.st_mtime_ns}"
    what = f"{RULES} {file} {' '.join(sorted(ignore))}"
    digest = hashlib.sha256(what.encode()).hexdigest()[:16]
    return remote.cache_folder() / "index" / f"{tar.stem}-{digest}.idx"


def _digests(manifest: Path) -> dict[str, str]:
    if not manifest.exists():
        return {}
    return {shard["name"]: shard["sha256"] for shard in read_manifest(manifest)}


def read_manifest(path: Path, shown: str = "") -> list[dict]:
    """The shards that a `dataset.json` lists. Raises `ValueError` for what is no manifest.

    `shown`: what an error calls it, in place of its path.
    """
    try:
        shards = json.loads(path.read_text("utf-8"))["shards"]
        for shard in shards:
            name, size = shard["name"], shard["bytes"]
            if not re.fullmatch(r"[^/]+\.tar", name) or not isinstance(size, int):
                raise ValueError(f"entry {name!r}")
            _ = shard["sha256"], shard["index"], shard["samples"]
            if min({**shard.get("languages", {})}.values(), default=1) < 1:
                raise ValueError(f"languages of {name!r}")
        if len({shard["name"] for shard in shards}) < len(shards):
            raise ValueError("a shard comes twice")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{shown or path} is no manifest of shards: {error!r}") from error
    return shards


def remote_shards(url: str, split: str, ignore: tuple[str, ...]) -> list[Shard]:
    """The shards that the manifest at a URL lists; their tars come when they are read.

    Where there is no manifest, those that the server lists: all are fetched, and indexed here.
    A URL that ends in .tar names them itself, also by braces or * in its last part.
    """
    cache, url = remote.Cache(), url.rstrip("/")
    names = [f"{split}-*.tar"]
    if url.endswith(".tar"):
        url, _, pattern = url.rpartition("/")
        names = expand_braces(pattern)
    try:
        manifest = cache.fetch(f"{url}/{MANIFEST}", fresh=True)
    except MissingError:
        patterns = any("*" in name for name in names)
        entries = [{"name": name} for name in (_list_tars(url) if patterns else names)]
    else:
        entries = read_manifest(manifest, f"{url}/{MANIFEST}")
    chosen = _choose(entries, names, url)
    with ThreadPoolExecutor(8) as pool:  # most of the time goes by in waiting
        found = pool.map(lambda entry: _remote_shard(cache, url, entry, ignore), chosen)
        watched = track(found, "fetching indexes", len(chosen))
        return sorted(watched, key=lambda shard: shard.name)


def _choose(entries: list[dict[str, Any]], names: list[str], url: str) -> list[dict[str, Any]]:
    """The entries of some names, in which * stands for anything and every other letter counts.

    Raises `ValueError` for a name that there is not.
    """
    known = {entry["name"]: entry for entry in entries}
    chosen: dict[str, dict[str, Any]] = {}
    for name in names:
        rule = ".*".join(map(re.escape, name.split("*")))
        candidates = known if "*" in name else known.keys() & {name}
        matches = [found for found in candidates if re.fullmatch(rule, found)]
        if not matches:
            raise ValueError(f"no shards {name} at {url}, by its {MANIFEST} or its listing")
        chosen |= {match: known[match] for match in matches}
    return [*chosen.values()]


def _list_tars(url: str) -> list[str]:
    try:
        return [name for name in list_names(url) if name.endswith(".tar")]
    except ValueError as error:
        raise ValueError(f"{url} has no {MANIFEST}, and cannot be listed: {error}") from error


def _remote_shard(
    cache: "remote.Cache", url: str, entry: dict[str, Any], ignore: tuple[str, ...]
) -> Shard:
    place = f"{url}/{entry['name']}"
    if "index" not in entry:
        try:
            return Shard(place, open_index(cache.fetch(place), ignore))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    load = partial(_load_index, entry)
    beside = place.removesuffix(".tar") + ".idx"
    index = load(cache.fetch(beside, version=entry["index"], check=load))
    return Shard(place, index, entry["sha256"])


def _load_index(entry: dict[str, Any], path: Path) -> Index:
    """Raises `ValueError` unless it is the index that the manifest names."""
    index = Index.load(path)
    if index.digest != entry["index"] or index.tar_bytes != entry["bytes"]:
        raise ValueError(f"it is not the index that {MANIFEST} names for {entry['name']}")
    return index
