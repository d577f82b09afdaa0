"""The verbs of the command line: files and texts, some at a time, to rows of a table."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from omni.interface import Omni, load
from omni.items import Audio, Item, is_file_name, read, read_argument
from omni.keep import Keep
from omni.pipeline.files import walk_files

BATCH = 256
"""items that are read at once"""
Rows = Iterator[dict[str, Any]]


def run(arguments: argparse.Namespace, errors: list[str]) -> None:
    """One verb; its rows go to --to or the terminal. What cannot be read goes into `errors`."""
    speaks = arguments.command == "speak"
    model = load(arguments.model, arguments.device, arguments.vocoder if speaks else None)
    to = getattr(arguments, "to", None)
    with to.open("w", encoding="utf-8") if to else nullcontext(sys.stdout) as file:
        for row in VERBS[arguments.command](model, arguments, errors):
            print(_line(row, arguments), file=file, flush=True)


def _line(row: dict[str, Any], arguments: argparse.Namespace) -> str:
    if arguments.json or arguments.command == "embed":
        return json.dumps(row, ensure_ascii=False)
    return "\t".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())


def _expand(arguments: list[str]) -> Iterator[str]:
    """Standard input for "-", the media files in it for a folder."""
    for argument in arguments:
        if argument == "-":
            yield from filter(None, (line.strip() for line in sys.stdin))
        elif Path(argument).is_dir():
            walked = (at / name for at, names in walk_files(Path(argument)) for name in names)
            yield from sorted(str(path) for path in walked if is_file_name(path.name))
        else:
            yield argument


def _batches(
    arguments: argparse.Namespace, what: list[str], errors: list[str]
) -> Iterator[tuple[list[str], list[Item]]]:
    """Names and contents of everything readable, some at a time; the rest goes into `errors`.

    A bar shows how far it is, unless the rows are seen themselves.
    """
    everything, seen = [*_expand(what)], sys.stdout.isatty() and not getattr(arguments, "to", None)
    with Progress(
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # that is where the rows go
        disable=seen or not sys.stderr.isatty(),
    ) as progress:
        for start in progress.track(range(0, len(everything), BATCH)):
            names, items = [], []
            for name in everything[start : start + BATCH]:
                try:
                    items.append(read_argument(name))
                    names.append(name)
                except ValueError as error:
                    errors.append(str(error))
            if names:
                yield names, items


def _embed(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    for names, items in _batches(arguments, arguments.items, errors):
        for name, vector in zip(names, model.embed(items).tolist(), strict=True):
            yield {"item": name, "vector": vector}


def _search(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    found, gallery, vectors = [], [], []
    for names, items in _batches(arguments, arguments.gallery, errors):
        found += names
        if arguments.rerank:
            gallery += items
        else:
            vectors.append(model.embed(items))
    if not found:
        raise ValueError("the gallery is empty: it needs at least one readable file or text")
    known = gallery if arguments.rerank else torch.cat(vectors)
    for names, items in _batches(arguments, arguments.items, errors):
        for name, item in zip(names, items, strict=True):
            for place, score in model.retrieve(item, known, arguments.k, arguments.rerank):
                yield {"item": name, "found": found[place], "score": score}


def _write(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    for names, items in _batches(arguments, arguments.items, errors):
        texts = model.generate(items, to="text", language=arguments.language)
        for name, text in zip(names, texts, strict=True):
            yield {"item": name, "text": text}


def _ask(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    choices = arguments.choices and [text.strip() for text in arguments.choices.split(",")]
    for names, items in _batches(arguments, arguments.items, errors):
        asked: list[Any] = [(item, arguments.question) for item in items]
        answers = model.answer(asked, choices, arguments.language)
        for name, text in zip(names, answers, strict=True):
            yield {"item": name, "answer": text}


def _make(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    sense = "image" if arguments.command == "draw" else "audio"
    settings = {k: getattr(arguments, k) for k in ("steps", "guidance", "direct")}
    if arguments.negative:
        settings["negative"] = read_argument(arguments.negative)
    if arguments.keep:
        settings["keep"] = _keep(read(arguments.keep), arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    number = 0
    for names, items in _batches(arguments, arguments.items, errors):
        # Each batch has noise of its own.
        made = model.generate(items, to=sense, seed=arguments.seed + number, **settings)
        for name, result in zip(names, made, strict=True):
            stem = Path(name).stem if is_file_name(name) else name
            stem = re.sub(r"\W+", "-", stem).strip("-")[:40]
            ending = "wav" if isinstance(result, Audio) else "png"
            path = arguments.out / f"{number:03d}-{stem}.{ending}"
            result.save(path)
            number += 1
            yield {"item": name, "file": str(path)}


def _keep(original: Item, arguments: argparse.Namespace) -> Keep:
    """What stays of a file: all that --mask has white, or what is before --until."""
    if arguments.command == "draw" and isinstance(original, Image.Image):
        mask = read(arguments.mask) if arguments.mask else None
        if not isinstance(mask, Image.Image):
            raise ValueError("--keep needs --mask: a picture, white where the other one stays")
        return Keep(original, np.asarray(mask.convert("L")) > 127)
    if arguments.command == "speak" and isinstance(original, Audio):
        until = len(original.samples) if arguments.until is None else arguments.until
        seconds = np.arange(len(original.samples)) / original.sample_rate
        return Keep(original, seconds < until)
    raise ValueError(f"--keep: {arguments.keep} is not what `omni {arguments.command}` makes")


VERBS: dict[str, Callable[[Omni, argparse.Namespace, list[str]], Rows]] = {
    "embed": _embed,
    "search": _search,
    "caption": _write,
    "transcribe": _write,
    "ask": _ask,
    "draw": _make,
    "speak": _make,
}
