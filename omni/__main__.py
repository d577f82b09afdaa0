"""The command line: omni embed | search | caption | transcribe | ask | draw | speak | bench.

An argument is a file if its name ends like a picture, a recording, a video or a .txt, and a text
otherwise; "-" reads arguments from standard input, a line each. A damaged or missing file is
reported in one line and the rest is still done; the exit code is then 2.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omni.interface import Omni, load
from omni.items import Audio, Item, is_file_name, read, read_argument
from omni.keep import Keep
from omni.search import command as index
from omni.serve import command as service

EXAMPLES = """examples:
  omni draw "a red apple" --out drawings
  omni speak "a red apple" picture.png --out spoken
  omni caption *.png --to captions.txt
  omni transcribe - < list-of-recordings.txt
  omni draw "a red apple" --keep plate.png --mask around.png
  omni ask "what colour is it?" *.png --choices red,green,blue
  omni search --gallery pictures/ "a red apple" question.wav
  omni embed picture.png --to vectors.jsonl
"""


def main() -> None:
    """Parses the arguments and runs one command."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.command == "bench":
        _bench(arguments)
        return
    errors: list[str] = []
    try:
        if arguments.command == "index":
            index.run(arguments, errors)
        elif arguments.command == "serve":
            service.run(arguments)
        else:
            _use(arguments, errors)
    except ValueError as error:
        errors.append(str(error))
    for error in errors:
        print(f"omni {arguments.command}: {error}", file=sys.stderr)
    sys.exit(2 if errors else 0)


def _use(arguments: argparse.Namespace, errors: list[str]) -> None:
    """A verb of the model."""
    vocoder = arguments.vocoder if arguments.command == "speak" else None
    model = load(arguments.model, arguments.device, vocoder)
    COMMANDS[arguments.command](model, arguments, errors)


def _bench(arguments: argparse.Namespace) -> None:
    """Imported late: the measurements bring along what they compare with."""
    if arguments.what == "step":
        from omni.bench import step

        step.run(arguments.preset, arguments.device)
    else:
        from omni.bench import loader

        loader.run(arguments.samples, arguments.repeat)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="omni", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "embed": "unit vectors of pictures, recordings or texts, as JSON lines",
        "search": "the best of a gallery for each query",
        "caption": "name what a picture or a video shows",
        "transcribe": "write down what a recording says",
        "ask": "the answer to a question about each picture, recording or video",
        "draw": "a picture of a text or a recording",
        "speak": "speech from a text or a picture",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "ask":
            command.add_argument("question")
            command.add_argument("--choices", help="the answers to choose from, A,B,...")
        command.add_argument("items", nargs="+", help='files or texts; "-": standard input')
        command.add_argument("--model", help="run, folder or hub name (default: runs/demo)")
        command.add_argument("--device", default="auto")
        if name in ("draw", "speak"):
            command.add_argument("--out", type=Path, default=Path(), help="folder for the results")
            command.add_argument("--seed", type=int, default=0)
            command.add_argument("--steps", type=int, default=10)
            command.add_argument("--guidance", type=float, default=3.0)
            command.add_argument("--direct", action="store_true", help="without words between")
            command.add_argument("--negative", help="file or text: what it should not be like")
            command.add_argument("--keep", type=Path, help="file of which parts stay as they are")
            where = {
                "draw": ("--mask", Path, "with --keep: a picture, white where it stays"),
                "speak": ("--until", float, "with --keep: the second up to which it stays"),
            }
            flag, kind, text = where[name]
            command.add_argument(flag, type=kind, help=text)
        else:
            command.add_argument("--to", type=Path, help="file for the results (default: terminal)")
        if name == "speak":
            what = "SpeechT5HifiGan in place of Griffin-Lim: folder or hub name"
            command.add_argument("--vocoder", help=what)
        if name in ("caption", "transcribe", "ask"):
            command.add_argument("--language", default="en")
        if name == "search":
            where = "files, folders or texts to search in"
            command.add_argument("--gallery", nargs="+", required=True, help=where)
            command.add_argument("-k", type=int, default=5, help="answers a query")
            again = "so many of the best are looked at again, together with the query"
            command.add_argument("--rerank", type=int, default=0, help=again)
    text = "an index of many items, kept on disk"
    index.add_arguments(commands.add_parser("index", help=text, description=text))
    text = "an HTTP service, as OpenAI's clients call it, and a search engine"
    service.add_arguments(commands.add_parser("serve", help=text, description=text))
    command = commands.add_parser("bench", help="how fast this machine trains, and reads data")
    command.add_argument("what", choices=("step", "loader"))
    command.add_argument("--preset", default="demo", help="of step")
    command.add_argument("--device", default="auto", help="of step")
    command.add_argument("--samples", type=int, default=1024, help="of loader, in each data set")
    command.add_argument("--repeat", type=int, default=3, help="of loader; the median counts")
    return parser


def _expand(arguments: list[str]) -> Iterator[str]:
    """Standard input for "-", the media files in it for a folder."""
    for argument in arguments:
        if argument == "-":
            yield from filter(None, (line.strip() for line in sys.stdin))
        elif Path(argument).is_dir():
            yield from sorted(str(p) for p in Path(argument).rglob("*") if is_file_name(p.name))
        else:
            yield argument


def _read_all(arguments: list[str], errors: list[str]) -> tuple[list[str], list[Item]]:
    """Names and contents of everything readable; what is not goes into `errors`."""
    names, items = [], []
    for name in _expand(arguments):
        try:
            items.append(read_argument(name))
            names.append(name)
        except ValueError as error:
            errors.append(str(error))
    return names, items


def _print(lines: Iterator[str], to: Path | None) -> None:
    if to is None:
        for line in lines:
            print(line)
    else:
        to.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _embed(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> None:
    names, items = _read_all(arguments.items, errors)
    vectors = model.embed(items).tolist() if items else []
    pairs = zip(names, vectors, strict=True)
    _print((json.dumps({"item": n, "vector": v}) for n, v in pairs), arguments.to)


def _search(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> None:
    names, items = _read_all(arguments.items, errors)
    found, gallery = _read_all(arguments.gallery, errors)
    if not gallery:
        raise ValueError("the gallery is empty: it needs at least one readable file or text")
    known = gallery if arguments.rerank else model.embed(gallery)

    def lines() -> Iterator[str]:
        for name, item in zip(names, items, strict=True):
            for place, score in model.retrieve(item, known, arguments.k, arguments.rerank):
                yield f"{name}\t{found[place]}\t{score:.3f}"

    _print(lines(), arguments.to)


def _write(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> None:
    names, items = _read_all(arguments.items, errors)
    texts = model.generate(items, to="text", language=arguments.language) if items else []
    _print((f"{n}\t{t}" for n, t in zip(names, texts, strict=True)), arguments.to)


def _ask(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> None:
    names, items = _read_all(arguments.items, errors)
    asked: list[Any] = [(item, arguments.question) for item in items]
    choices = arguments.choices and [text.strip() for text in arguments.choices.split(",")]
    answers = model.answer(asked, choices, arguments.language) if asked else []
    _print((f"{n}\t{a}" for n, a in zip(names, answers, strict=True)), arguments.to)


def _make(model: Omni, arguments: argparse.Namespace, errors: list[str]) -> None:
    names, items = _read_all(arguments.items, errors)
    sense = "image" if arguments.command == "draw" else "audio"
    settings = {k: getattr(arguments, k) for k in ("seed", "steps", "guidance", "direct")}
    if arguments.negative:
        settings["negative"] = read_argument(arguments.negative)
    if arguments.keep:
        settings["keep"] = _keep(read(arguments.keep), arguments)
    made = model.generate(items, to=sense, **settings) if items else []
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, (name, result) in enumerate(zip(names, made, strict=True)):
        stem = re.sub(r"\W+", "-", Path(name).stem if is_file_name(name) else name).strip("-")[:40]
        ending = "wav" if isinstance(result, Audio) else "png"
        path = arguments.out / f"{number:03d}-{stem}.{ending}"
        result.save(path)
        print(path)


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


COMMANDS: dict[str, Callable[[Omni, argparse.Namespace, list[str]], None]] = {
    "embed": _embed,
    "search": _search,
    "caption": _write,
    "transcribe": _write,
    "ask": _ask,
    "draw": _make,
    "speak": _make,
}


if __name__ == "__main__":
    main()
