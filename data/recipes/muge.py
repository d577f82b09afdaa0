"""MUGE: three Chinese tasks on pictures of goods; pictures are rows of base64 in a tsv.

`root` is the folder of a task, as unpacked:

- captions (ECommerce-IC): `IC_{train,valid,test}.jsonl` and `.tsv`; ten captions an image
- text to image (ECommerce-T2I): `T2I_{train,val,test}.text.tsv` (or `.txt.tsv`) and `.img.tsv`
- retrieval: `MR_{train,valid,test}_queries.jsonl` and `MR_*_imgs.tsv`, or as Chinese-CLIP repacks
  it, `{train,valid,test}_texts.jsonl` and `*_imgs.tsv`

One sample an image, with all its texts. What has texts only in the test (queries whose images are
hidden, prompts of T2I) is a sample of text alone, and images of a gallery that no query asks for
are samples without text. Meta: `task` (IC, T2I, MR), `image_id`, and of MR `query_ids`, one a
text; of a query without images `query_id`.
Lin et al., "M6: A Chinese Multimodal Pretrainer", 2021.
"""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.recipes import files
from data.record import Record

PAGE = "https://tianchi.aliyun.com/muge"
SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}
URLSAFE = str.maketrans("-_", "+/")


def read(root: Path) -> Iterator[Record]:
    """Yield the images and queries of the user's copy."""
    return files.present(_records(root), "muge", PAGE)


def _records(root: Path) -> Iterator[Record]:
    readers = {
        "IC_{}.jsonl": _captions,
        "T2I_{}.text.tsv": _prompts,
        "T2I_{}.txt.tsv": _prompts,
        "MR_{}_queries.jsonl": _queries,
        "{}_texts.jsonl": _queries,
    }
    found = [
        (path, split, reader)
        for name, reader in readers.items()
        for ours, split in SPLITS.items()
        if (path := root / name.format(ours)).is_file()
    ]
    if not found:
        expected = " or ".join(name.format("{train,valid,test}") for name in readers)
        raise ValueError(f"{root} must hold {expected}; to be had from {PAGE}")
    for path, split, reader in found:
        yield from reader(path, split)


def _captions(path: Path, split: str) -> Iterator[Record]:
    wanted = {}
    for line in files.lines(path, ("image_id",)):
        captions = line.get("text") or []  # the test has none
        texts = tuple(c.strip() for c in ([captions] if isinstance(captions, str) else captions))
        wanted[str(line["image_id"])] = _record("IC", str(line["image_id"]), split, texts)
    yield from _join(path.with_suffix(".tsv"), "IC", split, wanted)


def _prompts(path: Path, split: str) -> Iterator[Record]:
    wanted = {}
    for image_id, text in _rows(path):
        wanted[image_id] = _record("T2I", image_id, split, (text.strip(),))
    pictures = path.with_name(f"{path.name.split('.')[0]}.img.tsv")
    if split == "test" and not pictures.exists():
        yield from wanted.values()
    else:
        yield from _join(pictures, "T2I", split, wanted)


def _queries(path: Path, split: str) -> Iterator[Record]:
    ours = path.name.endswith("_texts.jsonl")  # the dialect of Chinese-CLIP
    query_id, text, images = (
        ("text_id", "text", "image_ids") if ours else ("query_id", "query_text", "item_ids")
    )
    asked: dict[str, list[tuple[int, str]]] = {}
    for line in files.lines(path, (query_id, text)):
        query = line[query_id], line[text].strip()
        for image_id in line.get(images) or []:
            asked.setdefault(str(image_id), []).append(query)
        if not line.get(images):
            meta = {"task": "MR", "query_id": query[0]}
            key = f"MR-query-{query[0]}"
            yield Record(key, texts=(query[1],), language="zh", split=split, meta=meta)
    wanted = {}
    for image_id, queries in asked.items():
        ids, texts = zip(*queries, strict=True)
        wanted[image_id] = _record("MR", image_id, split, texts, {"query_ids": list(ids)})
    yield from _join(
        path.with_name(f"{path.name.rpartition('_')[0]}_imgs.tsv"), "MR", split, wanted
    )


def _record(
    task: str, image_id: str, split: str, texts: tuple[str, ...], meta: dict[str, Any] | None = None
) -> Record:
    ours = int(image_id) if task == "MR" else image_id  # whose official scorer wants numbers
    meta = {"task": task, "image_id": ours} | (meta or {})
    return Record(f"{task}-{image_id}", texts=texts, language="zh", split=split, meta=meta)


def _join(path: Path, task: str, split: str, wanted: dict[str, Record]) -> Iterator[Record]:
    """Give the records their pictures; those left over get a path where there is no file."""
    for image_id, text in _rows(files.require(path, PAGE)):
        record = wanted.pop(image_id, None) or _record(task, image_id, split, ())
        yield replace(record, image=_decode(text, f"image {image_id} of {path}"))
    for image_id, record in wanted.items():
        yield replace(record, image=path / image_id)


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """The two columns of a tsv."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            first, tab, second = line.rstrip("\r\n").partition("\t")
            if not tab:
                raise ValueError(f"line {number} of {path} must be two columns, got {first[:40]!r}")
            yield first, second


def _decode(text: str, where: str) -> bytes:
    """Bytes of base64 in the standard or the URL-safe alphabet, padded or not."""
    text = text.strip().translate(URLSAFE)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"{where} must be base64: {error}") from error
