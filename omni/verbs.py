"""The verbs of the command line: files and texts, some at a time, to rows of a table."""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from omni.interface import Omni, load
from omni.interrupt import advise
from omni.items import Audio, Item, files_of, passed_over, read, read_argument
from omni.keep import Keep
from omni.names import to_text
from omni.pipeline.formats import FORMATS
from omni.progress import Progress

BATCH = 256
"""items that are read at once"""
Rows = Iterator[dict[str, Any]]


def run(arguments: argparse.Namespace, errors: list[str]) -> None:
    """One verb; its rows go to --to or the terminal. What cannot be read goes into `errors`."""
    speaks = arguments.command == "speak"
    model = load(arguments.model, arguments.device, arguments.vocoder if speaks else None)
    to = getattr(arguments, "to", None)
    done = f"{to} has the rows that are done" if to else "the rows above are done"
    with to.open("w", encoding="utf-8") if to else nullcontext(sys.stdout) as file, advise(done):
        for row in VERBS[arguments.command](model, arguments, errors):
            print(_line(row, arguments, file.encoding), file=file, flush=True)


def _line(row: dict[str, Any], arguments: argparse.Namespace, encoding: str) -> str:
    values = {key: to_text(v) if isinstance(v, str) else v for key, v in row.items()}
    if arguments.json or arguments.command == "embed":
        return json.dumps(values, ensure_ascii=encoding.lower() != "utf-8")
    cells = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in values.values())
    return "\t".join(cells)


def _expand(arguments: list[str], errors: list[str], as_text: bool) -> Iterator[str]:
    """Standard input for "-", and for a folder the media in it; one without is an error."""
    for argument in arguments:
        if argument == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):
                sys.stdin.reconfigure(errors="surrogateescape")  # file names as in arguments
            yield from filter(None, (line.strip() for line in sys.stdin))
        elif os.path.isdir(argument) and not as_text:
            files = files_of(argument)
            if not files:
                errors.append(f"{argument}: a folder without a file ending in {', '.join(FORMATS)}")
            elif others := passed_over(argument):
                print(to_text(others), file=sys.stderr)
            yield from files
        else:
            yield argument


def _batches(
    arguments: argparse.Namespace, what: list[str], errors: list[str], as_text: bool
) -> Iterator[tuple[list[str], list[Item]]]:
    """Names and contents of everything readable, some at a time; the rest goes into `errors`.

    It is shown how far it is, unless the rows are seen themselves.
    """
    everything = [*_expand(what, errors, as_text)]
    seen = sys.stdout.isatty() and not getattr(arguments, "to", None)
    with Progress(arguments.command, len(everything), quiet=seen, clear=True) as progress:
        for start in range(0, len(everything), BATCH):
            names, items = [], []
            for name in everything[start : start + BATCH]:
                try:
                    items.append(read_argument(name, as_text))
                    names.append(name)
                except ValueError as error:
                    errors.append(str(error))
            if names:
                yield names, items
            progress.update(min(start + BATCH, len(everything)))


def _embed(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    for names, items in _batches(arguments, arguments.items, errors, arguments.text):
        for name, vector in zip(names, model.embed(items).tolist(), strict=True):
            yield {"item": name, "vector": vector}


def _search(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    found, gallery, vectors = [], [], []
    for names, items in _batches(arguments, arguments.gallery, errors, False):
        found += names
        if arguments.rerank:
            gallery += items
        else:
            vectors.append(model.embed(items))
    if not found:
        raise ValueError("the gallery is empty: it needs at least one readable file or text")
    known = gallery if arguments.rerank else torch.cat(vectors)
    for names, items in _batches(arguments, arguments.items, errors, arguments.text):
        for name, item in zip(names, items, strict=True):
            for place, score in _retrieve(model, name, item, known, arguments):
                yield {"item": name, "found": found[place], "score": score}


def _retrieve(
    model: Omni, name: str, item: Item, gallery: Any, arguments: argparse.Namespace
) -> list[tuple[int, float]]:
    """The best of a gallery; by their vectors alone where they cannot all be re-ranked."""
    if arguments.rerank:
        try:
            return model.retrieve(item, gallery, arguments.k, arguments.rerank)
        except ValueError as error:
            note = f"{name}: not re-ranked, these scores are cosines: {error}"
            print(f"omni search: {to_text(note)}", file=sys.stderr)
    return model.retrieve(item, gallery, arguments.k)


def _write(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    for names, items in _batches(arguments, arguments.items, errors, arguments.text):
        texts = model.generate(items, to="text", language=arguments.language)
        for name, text in zip(names, texts, strict=True):
            yield {"item": name, "text": text}


def _ask(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> Rows:
    choices = arguments.choices and [text.strip() for text in arguments.choices.split(",")]
    for names, items in _batches(arguments, arguments.items, errors, arguments.text):
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
    for names, items in _batches(arguments, arguments.items, errors, arguments.text):
        # Each batch has noise of its own.
        made = model.generate(items, to=sense, seed=arguments.seed + number, **settings)
        for name, item, result in zip(names, items, made, strict=True):
            stem = name if item == name else Path(name).stem
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
