"""Shards that stock webdataset reads: plain ustar, a sample's members adjacent, an index beside."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.writer import TarWriter

from omni.pipeline.dataset import MANIFEST
from omni.pipeline.formats import senses_of, split_name
from omni.pipeline.index import Index, build_index
from omni.pipeline.sample import MemberError, decode_members, make_sample

VERSION = 1


def write_shard(path: Path, samples: Iterable[tuple[str, dict[str, bytes]]]) -> Index:
    """Writes (key, bytes by extension) as a tar and its index; both appear whole or not at all.

    The bytes depend on the samples only. Raises `ValueError` for keys and members that no shard
    may hold, before anything bears the name `path`.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        # An integer mtime: with any other, every member gets a pax header of its own.
        writer = TarWriter(file, user="omni", group="omni", mtime=0, encoder=False)
        for key, members in samples:
            if "." in key or split_name(f"{key}.txt")[0] != key:
                raise ValueError(f"a key must hold no dot and no ./, got {key!r}")
            # One call a member, because the writer would sort them; the json comes last.
            for extension in sorted(members, key=lambda e: e == "json"):
                writer.write({"__key__": key, extension: members[extension]})
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    index = build_index(partial)
    index.save(path.with_suffix(".idx"))
    partial.replace(path)
    return index


def describe_shard(path: Path) -> dict[str, Any]:
    """The entry of a shard and its index in the manifest."""
    index = Index.load(path.with_suffix(".idx"))
    counts: dict[str, int] = {}
    for mask in index.samples["senses"].tolist():
        name = "+".join(senses_of(mask))
        counts[name] = counts.get(name, 0) + 1
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        languages = _count_languages(file, index)
    return {
        "name": path.name,
        "bytes": index.tar_bytes,
        "sha256": digest,
        "index": index.digest,
        "samples": len(index),
        "senses": dict(sorted(counts.items())),
        "languages": dict(sorted(languages.items())),
    }


def _count_languages(tar: BinaryIO, index: Index) -> Counter[str]:
    """How many samples have texts in each language; those that are damaged do not count."""
    languages: Counter[str] = Counter()
    for row in range(len(index)):
        texts = {}
        for extension, offset, size, _ in index.members(row):
            if extension in ("txt", "json"):
                tar.seek(offset)
                texts[extension] = tar.read(size)
        with suppress(MemberError):
            languages.update(make_sample("", decode_members(texts, 0)).texts.keys())
    return languages


def write_manifest(folder: Path, shards: list[dict[str, Any]] | None = None) -> Path:
    """`dataset.json`: every indexed shard of a folder with its sizes, digests and counts."""
    if shards is None:
        shards = [describe_shard(p) for p in sorted(folder.glob("*.tar"))]
    path = folder / MANIFEST
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"version": VERSION, "shards": shards}, indent=1) + "\n", "utf-8")
    partial.replace(path)
    return path
