"""`omni index build | add | delete | search | optimize`."""

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from omni.batch import SENSES
from omni.interface import default, load
from omni.interrupt import advise
from omni.items import passed_over, read_argument
from omni.names import to_text
from omni.pretrained import digest
from omni.progress import track
from omni.search.index import Index
from omni.search.milvus import Milvus
from omni.search.reading import count_items, embed, look
from omni.search.rerank import rerank, reread

HELP = {
    "build": "a new index of folders of shards, or of pictures, sounds and texts",
    "add": "put more into it; what it has by that name is replaced",
    "delete": "forget items by name",
    "search": "the best items for each query, as JSON lines",
    "optimize": "codes that find neighbours faster, from 200,000 vectors on",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `omni index`."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in HELP.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("index", help="folder of the index, or milvus:URI")
        if name in ("build", "add"):
            action.add_argument("sources", nargs="+", type=Path, help="folders")
        if name == "delete":
            action.add_argument("names", nargs="+")
        if name == "search":
            action.add_argument("queries", nargs="+", help="files or texts")
            text = "queries are texts, even those that look like files"
            action.add_argument("--text", action="store_true", help=text)
            action.add_argument("--together", action="store_true", help="they are one query")
            action.add_argument("-k", type=int, default=10, help="answers a query")
            again = "so many of the best are looked at again, together with the query"
            action.add_argument("--rerank", type=int, default=0, metavar="N", help=again)
            # One value each: an option of any number takes the index and the queries behind it.
            senses = "of the answers; may be given several times"
            action.add_argument(
                "--senses", action="append", default=[], choices=SENSES, help=senses
            )
            where = "metadata that an answer must have; may be given several times"
            action.add_argument(
                "--where", action="append", default=[], metavar="NAME=VALUE", help=where
            )
        if name in ("build", "add", "search"):
            action.add_argument("--model", help="run, folder or hub name (default: runs/demo)")
            action.add_argument("--device", default="auto")


def run(arguments: argparse.Namespace, errors: list[str]) -> None:
    """One action. Raises `ValueError` for what cannot be done; the rest goes into `errors`."""
    if arguments.action == "delete":
        index = open_index(arguments.index)
        print(f"{index.delete(map(to_text, arguments.names))} deleted, {len(index)} left")
    elif arguments.action == "optimize":
        made = open_index(arguments.index).optimize(lambda blocks: track(blocks, "codes"))
        print("done" if made else "not needed: there are too few vectors")
    elif arguments.action == "search":
        _search(arguments, errors)
    else:
        _add(arguments, errors)


def _place(named: str) -> tuple[Any, Any]:
    """What keeps an index, and where."""
    uri = named.removeprefix("milvus:")
    return (Index, Path(named)) if uri == named else (Milvus, uri)


def open_index(named: str, model: str | None = None) -> Index | Milvus:
    """The index of a folder or of milvus:URI. Raises `ValueError` as their `open` does."""
    kind, place = _place(named)
    return kind.open(place, model)


def _add(arguments: argparse.Namespace, errors: list[str]) -> None:
    total = sum(map(count_items, arguments.sources))
    model = load(arguments.model, arguments.device)
    name = digest(arguments.model or default())
    for source in arguments.sources:
        if not any(source.glob("*.tar")) and (others := passed_over(source)):
            print(f"omni index: {to_text(others)}", file=sys.stderr)
    found = (item for source in arguments.sources for item in look(source, errors))
    entries = track(embed(model, found), f"index {arguments.action}", total, clear=True)
    if arguments.action == "build":
        kind, place = _place(arguments.index)
        with advise("no index is left behind"):
            index, count = kind.build(place, model.config.model.embed_dim, name, entries)
    else:
        index = open_index(arguments.index, name)
        with advise("the index is as it was"):
            count = index.add(entries)
    print(f"{count} added, {len(index)} items, {index.num_vectors()} vectors")


def _search(arguments: argparse.Namespace, errors: list[str]) -> None:
    name = digest(arguments.model or default())
    index = open_index(arguments.index, name)
    if arguments.rerank < 0:
        raise ValueError(f"--rerank must be at least 0, got {arguments.rerank}")
    where = dict(_pair(text) for text in arguments.where)
    queries: dict[str, Any] = {}
    for text in arguments.queries:
        try:
            queries[text] = read_argument(text, arguments.text)
        except ValueError as error:
            errors.append(str(error))
    if arguments.together and queries:
        queries = {" + ".join(queries): tuple(queries.values())}
    if not queries:
        return
    model = load(arguments.model, arguments.device)
    vectors = model.embed([*queries.values()]).numpy()
    best = index.search(vectors, max(arguments.k, arguments.rerank), arguments.senses, where)
    for (text, item), hits in zip(queries.items(), best, strict=True):
        if arguments.rerank:
            hits, reason = rerank(model, item, hits, partial(reread, None))
            if reason:
                note = f"{text}: not re-ranked, these scores are cosines: {reason}"
                print(f"omni index: {to_text(note)}", file=sys.stderr)
        for hit in hits[: arguments.k]:
            row = {"query": to_text(text), **asdict(hit), "score": round(hit.score, 4)}
            print(json.dumps(row, ensure_ascii=False))


def _pair(text: str) -> tuple[str, str | int | float]:
    """NAME=VALUE, where a value that is a number counts as one. Raises `ValueError`."""
    name, found, value = text.partition("=")
    if not found:
        raise ValueError(f"--where must be NAME=VALUE, got {text!r}")
    try:
        number = json.loads(value)
    except ValueError:
        return name, value
    return name, number if isinstance(number, int | float) else value
