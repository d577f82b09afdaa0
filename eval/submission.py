"""What MUGE's three tasks are handed in: read strictly, and of retrieval the official score.

- retrieval: a line a query with its ten best images, best first, `{"query_id": 1, "item_ids":
  [...]}`, or in the dialect of Chinese-CLIP `{"text_id": 1, "image_ids": [...]}`
- captions: a line an image, `{"image_id": "...", "text": "..."}`
- text to image: a row an image, its id, a tab and the bytes of the picture in base64

The rules are those of the official scorer (MUGE-2021/image-retrieval-baseline,
src/eval/evaluation.py; OFA-Sys/Chinese-CLIP, cn_clip/eval/evaluation.py). Ours also refuses what
that passes over: a query that nobody asked, or one that comes twice.
"""

import base64
import json
from collections.abc import Collection, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from omni.pipeline.decode import decode_image

DEPTH = 10
"""images that a query must have"""
URLSAFE = str.maketrans("-_", "+/")
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Dialect(NamedTuple):
    """What the fields of a query are called."""

    query: str
    images: str


DIALECTS = {
    "original": Dialect("query_id", "item_ids"),
    "chinese-clip": Dialect("text_id", "image_ids"),
}


def judge(truth: Path, prediction: Path) -> dict[str, Any]:
    """The official result of a submission, or in the official form why it is refused."""
    try:
        dialect, answers = read_truth(truth)
        return score(answers, read_ranked(prediction, answers, dialect))
    except (ValueError, OSError) as error:
        told = {"errorDetail": str(error), "errorMsg": str(error)}
        return {"success": False, "score": 0, "scoreJson": {}, **told}


def score(truth: dict[int, set[int]], ranked: dict[int, list[int]]) -> dict[str, Any]:
    """R@1, R@5 and R@10 in percent and their mean; a query counts where any right image is there.

    The numbers are rounded as the official script rounds them, to the last bit.
    """
    shares = [
        sum(not images.isdisjoint(ranked[query][:depth]) for query, images in truth.items())
        / len(truth)
        for depth in (1, 5, DEPTH)
    ]
    mean = sum(shares) / 3 * 100
    recalls = {f"r{d}": 100 * share for d, share in zip((1, 5, DEPTH), shares, strict=True)}
    told = {"score": mean, "mean_recall": mean, **recalls}
    return {"success": True, "score": mean, "scoreJson": told}


def read_truth(path: Path) -> tuple[Dialect, dict[int, set[int]]]:
    """The right images of each query, and the dialect that the first line is written in.

    Raises `ValueError` for a line that is not as it must be, or that hides its answers.
    """
    dialect, answers = DIALECTS["original"], {}
    for where, entry in _objects(path):
        if not answers:
            dialect = next((d for d in DIALECTS.values() if d.query in entry), dialect)
        query, images = _query(entry, dialect, where)
        if query in answers:
            raise ValueError(f"{where}: query {query} must come once, it comes again")
        if not images:
            raise ValueError(f"{where}: {dialect.images} of query {query} must not be empty")
        answers[query] = {*images}
    return dialect, answers


def read_ranked(path: Path, queries: Collection[int], dialect: Dialect) -> dict[int, list[int]]:
    """The ten images of each of the queries. Raises `ValueError` for what must be refused."""

    def lines() -> Iterator[tuple[str, int, list[int]]]:
        for where, entry in _objects(path):
            query, images = _query(entry, dialect, where)
            if (count := len(images)) != DEPTH:
                raise ValueError(f"{where}: query {query} must have {DEPTH} images, got {count}")
            if len({*images}) < DEPTH:
                twice = next(image for image in images if images.count(image) > 1)
                raise ValueError(f"{where}: query {query} must have {twice} once, got it twice")
            yield where, query, images

    return _complete(lines(), queries, path)


def read_captions(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """The caption of each image. Raises `ValueError` for what must be refused."""

    def lines() -> Iterator[tuple[str, str, str]]:
        for where, entry in _objects(path):
            image, text = entry.get("image_id"), entry.get("text")
            if not isinstance(image, str) or not isinstance(text, str):
                raise ValueError(f"{where}: image_id and text must be strings, got {entry}")
            yield where, image, text

    return _complete(lines(), wanted, path)


def read_pictures(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The file of each picture, in either alphabet. Raises `ValueError` for what is none."""

    def rows() -> Iterator[tuple[str, str, bytes]]:
        for where, line in _lines(path):
            image, tab, text = line.partition("\t")
            if not tab:
                raise ValueError(f"{where} must be two columns, got {line[:40]!r}")
            try:
                data = base64.b64decode(text.translate(URLSAFE), validate=True)
                decode_image(data)
            except ValueError as error:
                raise ValueError(f"{where}: {image} must be a picture: {error}") from error
            yield where, image, data

    return _complete(rows(), wanted, path)


def _query(entry: dict[str, Any], dialect: Dialect, where: str) -> tuple[int, list[int]]:
    """The number of a query and those of its images."""
    if lacking := [field for field in dialect if field not in entry]:
        raise ValueError(f"{where} must have {' and '.join(dialect)}; it lacks {lacking[0]}")
    query, images = (entry[field] for field in dialect)
    if type(query) is not int:  # a bool would pass for one
        raise ValueError(f"{where}: {dialect.query} must be an integer, got {query!r}")
    if not isinstance(images, list):
        raise ValueError(f"{where}: {dialect.images} must be a list, got {images!r}")
    if strange := [image for image in images if type(image) is not int]:
        raise ValueError(f"{where}: {dialect.images} must be integers, got {strange[0]!r}")
    return query, images


def _complete(
    found: Iterable[tuple[str, Key, Value]], wanted: Collection[Key], path: Path
) -> dict[Key, Value]:
    """A value for each of `wanted`, and for nothing else."""
    missing, values = dict.fromkeys(wanted), {}
    for where, key, value in found:
        if key in values:
            raise ValueError(f"{where}: {key} must come once, it comes again")
        if key not in missing:
            raise ValueError(f"{where}: {key} is none of the {len(wanted)} that are asked for")
        del missing[key]
        values[key] = value
    if missing:
        told = f"{len(missing)} of {len(wanted)} are missing, the first is {next(iter(missing))}"
        raise ValueError(f"{path} must have all that are asked for; {told}")
    return values


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file, and where each stands."""
    for where, line in _lines(path):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} must be JSON: {error}") from error
        if not isinstance(entry, dict):
            raise ValueError(f"{where} must be an object, got {type(entry).__name__}")
        yield where, entry


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file, and where each stands. Raises `ValueError` where there is none."""
    where = ""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"line {number} of {path}"
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"{where} must be UTF-8: {error}") from error
            yield where, text.rstrip("\r\n")
    if not where:
        raise ValueError(f"{path} must not be empty")
