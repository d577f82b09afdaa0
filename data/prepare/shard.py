"""One shard of records to a tar with its index: a function of the records and nothing else.

It runs in any process on any machine that sees the same files, and again after a kill. The entry
that it leaves beside (`.pack/NAME.json`: digest of the records, what the manifest will say, what
was rejected) is written before the tar, which therefore comes last: where the tar is, all is.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from data.prepare.media import Form, encode_audio, encode_image, is_empty, read
from data.record import Record, Rejection
from omni.pipeline.decode import decode_json, decode_text, plain, texts_of
from omni.pipeline.index import Index
from omni.pipeline.writer import describe_shard, write_shard

ENTRIES = ".pack"
VERSION = 1
"""of the json members"""


@dataclass(frozen=True)
class Job:
    """A shard to be written: its records with their safe keys.

    `work` is a folder of this run alone, on the file system of `out`: a process that outlived its
    run writes there, and finds it gone.
    """

    out: Path
    work: Path
    name: str
    records: list[tuple[str, Record | Rejection]]
    form: Form


@dataclass(frozen=True)
class Done:
    """What came of a job."""

    name: str
    samples: int
    rejected: int
    """samples of which nothing is left"""
    damaged: int
    """samples that were packed without a member that is damaged"""


def entry_path(out: Path, name: str) -> Path:
    """Where the entry of a shard is."""
    return out / ENTRIES / f"{name}.json"


def pack_shard(job: Job) -> Done:
    """Writes a shard, unless it is there already, whole and from the same records."""
    digest = fingerprint(job.records)
    entry = _finished(job, digest)
    if entry is None:
        rejected: list[dict[str, str | None]] = []
        path, tar = job.work / job.name, job.out / job.name
        with _one_thread():
            samples = _samples(job, rejected)
            first = next(samples, None)  # without a single one there is no tar
            if first is not None:
                write_shard(path, chain([first], samples))
        described = None if first is None else describe_shard(path)
        entry = {"records": digest, "shard": described, "rejected": rejected}
        partial = path.with_suffix(".json")
        partial.write_text(json.dumps(entry), "utf-8")
        for old in (tar, tar.with_suffix(".idx")):  # of other records than the entry's
            old.unlink(missing_ok=True)
        partial.replace(entry_path(job.out, job.name))
        if first is not None:
            path.with_suffix(".idx").replace(tar.with_suffix(".idx"))
            path.replace(tar)
    samples = entry["shard"]["samples"] if entry["shard"] else 0
    damaged = {line.get("sample") for line in entry["rejected"]} - {None}
    return Done(job.name, samples, len(job.records) - samples, len(damaged))


def _finished(job: Job, digest: str) -> dict[str, Any] | None:
    """The entry of a shard that is there and whole."""
    tar = job.out / job.name
    try:
        entry = json.loads(entry_path(job.out, job.name).read_text("utf-8"))
        if entry["records"] != digest:
            return None
        if (shard := entry["shard"]) is None:
            return entry
        same = tar.stat().st_size == shard["bytes"]
        whole = same and Index.load(tar.with_suffix(".idx")).digest == shard["index"]
        return entry if whole else None
    except (FileNotFoundError, ValueError):
        return None


def fingerprint(records: list[tuple[str, Record | Rejection]]) -> str:
    """Changes with any record: its texts, the bytes given, or the path, size or time of a file."""
    state = hashlib.sha256()
    for key, record in records:
        fields = dict(vars(record))
        for sense in ("image", "audio"):
            fields[sense] = _mark(fields.get(sense))
        state.update(json.dumps([key, fields], default=str).encode())
    return state.hexdigest()[:32]


def _mark(source: Path | bytes | None) -> list[Any] | None:
    if source is None:
        return None
    if isinstance(source, bytes):
        return [len(source), zlib.crc32(source)]
    try:
        status = source.stat()
        return [str(source), status.st_size, status.st_mtime_ns]
    except OSError:  # what is wrong with it is found when it is read
        return [str(source)]


def _samples(
    job: Job, rejected: list[dict[str, str | None]]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key and members of each sample; what is damaged goes to `rejected`.

    `sample` is there the key under which the rest was packed, None where nothing is left.
    """
    for key, record in job.records:
        faults: dict[str, str] = {}
        found = record if isinstance(record, Rejection) else convert(key, record, job.form, faults)
        if isinstance(found, Rejection):
            faults.setdefault(found.member, found.reason)
        else:
            yield key, found
        for member, reason in faults.items():
            # Some reasons of PIL hold the address of an object, another one in every process.
            reason = re.sub(r" at 0x[0-9a-f]+", "", reason)
            line = {"key": record.key, "member": member, "reason": reason}
            packed = {"sample": None if isinstance(found, Rejection) else key}
            rejected.append({"shard": job.name, **line, **packed})


def convert(
    key: str, record: Record, form: Form, faults: dict[str, str] | None = None
) -> dict[str, bytes] | Rejection:
    """The sound members of a sample, the json last, or why there is no sample.

    What is damaged is left out, and its reason goes to `faults`; an empty file is one that is not
    there. With a json the texts are left out, as when a shard is read.
    """
    faults = {} if faults is None else faults
    faults |= record.faults
    members: dict[str, bytes] = {}
    texts: list[str] = []
    for member, encode in (("image", encode_picture), ("audio", encode_recording)):
        try:
            members |= encode(record, form)
        except ValueError as error:
            faults[member] = str(error)
    try:
        texts = decode_texts(record.texts)
    except ValueError as error:
        faults["text"] = str(error)
    try:
        meta = describe(key, record, texts)
        written = _compact(meta) if meta else b""
        if texts:
            members["txt"] = texts[0].encode()
        if members or texts_of(meta):
            return members | ({"json": written} if written else {})
        faults = faults or {"json": "the sample has no picture, no recording and no text"}
    except ValueError as error:
        faults["json"] = str(error)
        if members:
            return members
    member, reason = next(iter(faults.items()))
    return Rejection(record.key, member, reason, record.split)


def encode_picture(record: Record, form: Form) -> dict[str, bytes]:
    """The picture of a record by extension, if it has one. Raises `ValueError` where damaged."""
    if record.image is None or is_empty(record.image):
        return {}
    extension, data = encode_image(read(record.image), form)
    return {extension: data}


def encode_recording(record: Record, form: Form) -> dict[str, bytes]:
    """The recording of a record by extension, as `encode_picture`."""
    if record.audio is None or is_empty(record.audio):
        return {}
    extension, data = encode_audio(record.audio, record.start, record.stop, form)
    return {extension: data}


def decode_texts(texts: Iterable[str]) -> list[str]:
    """The texts that are not blank. What was no UTF-8 in its file raises `ValueError` here."""
    decoded = (decode_text(text.encode("utf-8", "surrogateescape")) for text in texts)
    return [text for text in decoded if text]


def describe(key: str, record: Record, texts: list[str]) -> dict[str, Any]:
    """The json of a sample: empty where its other members and its key say all there is."""
    if len(texts) < 2 and not record.meta and key == record.key and record.language == "en":
        return {}
    ours: dict[str, Any] = {"v": VERSION, "id": record.key}
    if texts:
        ours |= {"language": record.language, "captions": texts}
    kept = {name: value for name, value in record.meta.items() if name not in ours or name == "id"}
    return ours | kept


def _compact(meta: dict[str, Any]) -> bytes:
    text = json.dumps(plain(meta), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    decode_json(data := text.encode())
    return data


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads may differ in the last bit, and processes are the parallelism."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
