"""Running a shell line of the documents in this process: importing torch anew takes seconds."""

import argparse
import importlib
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import torch
from mcp.server.mcpserver import MCPServer
from torch.distributed.run import get_args_parser

import eval.command
import omni.bench.index
import omni.bench.loader
import omni.bench.serve
import omni.bench.step
import omni.search.command
import omni.serve.command
import omni.tools.command
import omni.training.parallel
import train
from eval.metrics import Score
from omni import verbs
from omni.serve.address import bind
from omni.serve.server import serve
from omni.training import learnable
from omni.validation import validate

ENTRIES = {"omni": "omni.__main__", "data.prepare": "data.prepare.__main__", "train.py": "train"}
VALUES = {
    **{"EXT": "cls", "N": "2", "NAME": "clotho", "TASK": "retrieval", "PRESET": "demo"},
    **{"OBJECTIVE": "joint", "M": "1", "--section.field": "--train.steps", "value": "3"},
}
"""words in capitals that are no file of the stage"""


class ParsedError(Exception):
    """The arguments are understood, and nothing more is to be done."""


def run(line: str, stage: Path, only_parse: bool = False) -> str:
    """Return what is wrong with a line that is run in a folder; empty where it succeeds.

    `only_parse`: it ends where its arguments are understood.
    """
    words, stdin = split(line, stage)
    with pytest.MonkeyPatch.context() as patch, captured(patch) as output:
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        if only_parse:
            parse_only(patch)
        try:
            if words[0] == "torchrun":
                words = torchrun(words, patch)
            status = start(words, stage, patch)
        except SystemExit as ended:
            status = ended.code
        except ParsedError:
            status = 0
        return "" if status in (None, 0) else f"status {status}: {output()}"


def start(words: list[str], stage: Path, patch: pytest.MonkeyPatch) -> object:
    """Call what a program begins with; return its status."""
    if words[:2] == ["python", "-m"]:
        words = words[1:]
    if words[0] not in ("omni", "python", "-m"):
        return "unknown: a line that cannot be run must be named in CHECKED"
    name, arguments = (words[0], words[1:]) if words[0] == "omni" else (words[1], words[2:])
    prepare(name, arguments, stage)
    patch.setattr(sys, "argv", [name, *arguments])
    return importlib.import_module(ENTRIES.get(name, name)).main()


def split(line: str, stage: Path) -> tuple[list[str], str]:
    """Return the words as a shell passes them on, and standard input."""
    line = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line.removeprefix("$ "))
    words, stdin = [], ""
    tokens = iter(shlex.split(line, posix=False))
    for token in tokens:
        if token == "<":
            stdin = (stage / next(tokens)).read_text()
        elif token[0] in "'\"":
            words.append(token[1:-1])
        elif "*" in token and (paths := sorted(stage.glob(token))):
            words += [path.relative_to(stage).as_posix() for path in paths]
        else:
            words.append(VALUES.get(token, token))
    return words, stdin


def prepare(name: str, arguments: list[str], stage: Path) -> None:
    """Remove what a line writes anew, and let it start no process of its own."""
    if name == "omni" and arguments[:2] == ["index", "build"] and len(arguments) > 3:
        shutil.rmtree(stage / arguments[2], ignore_errors=True)
    if name == "data.prepare" and arguments[0] in ("pack", "check") and "--help" not in arguments:
        if arguments[0] == "pack":
            shutil.rmtree(stage / arguments[-1], ignore_errors=True)
        arguments += ["--processes", "1"]


def torchrun(words: list[str], patch: pytest.MonkeyPatch) -> list[str]:
    """Return what each process runs; it ends where it would look for the others."""
    given = get_args_parser().parse_args(words[1:])
    patch.setenv("WORLD_SIZE", given.nproc_per_node)
    patch.setattr(omni.training.parallel.dist, "rendezvous", end)
    module = ["-m"] if given.module else []
    if given.module:  # the evaluation joins the others with all that it measures at hand
        parse_only(patch)
    return ["python", *module, given.training_script, *given.training_script_args]


def end(*arguments: object, **named: object) -> None:
    raise ParsedError


def parse_only(patch: pytest.MonkeyPatch) -> None:
    """Let every command end where its arguments are understood."""
    parse = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *given: object) -> argparse.Namespace:
        parsed = parse(parser, *given)  # type: ignore[call-overload]
        if parser.prog == "python -m data.prepare":  # the first of two: the command alone
            return parsed
        raise ParsedError

    def look(config: object, *given: object) -> None:
        validate(config)  # type: ignore[arg-type]
        raise ParsedError

    patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    patch.setattr(train, "train", look)


@contextmanager
def captured(patch: pytest.MonkeyPatch) -> Iterator:
    """Keep what is printed; encoded as on a terminal, for what asks for the encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    patch.setattr(sys, "stdout", streams[0])
    patch.setattr(sys, "stderr", streams[1])

    def output() -> str:
        for stream in streams:
            stream.flush()
        return "".join(stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]

    yield output


def stand_ins(patch: pytest.MonkeyPatch, stage: Path) -> None:
    """Replace what takes minutes or never ends; all that leads there is done as it is."""
    patch.chdir(stage)
    for variable in ("OMNI_MODEL", "WANDB_PROJECT"):
        patch.delenv(variable, raising=False)
    patch.setenv("OMNI_CACHE", str(stage / "cache"))
    patch.setattr(torch, "set_num_threads", lambda number: None)
    patch.setattr(train.Training, "go", go)
    score = Score(0.5, 0.4, 0.6, 4, 4, 0, task="retrieval")
    figures = {"test/retrieval/text->image/R@1": score}
    meta = {"seconds": {"retrieval": 1.0}, "protocols": {"retrieval": {"task": "retrieval"}}}
    patch.setattr(eval.command, "measure_all", lambda bench, tasks: (figures, meta))
    for module in (omni.bench.step, omni.bench.loader, omni.bench.serve, omni.bench.index):
        patch.setattr(module, "run", create_autospec(module.run))
    patch.setattr(omni.serve.command, "_server", lambda: create_autospec(serve))
    patch.setattr(omni.serve.command, "bind", lambda host, port: bind("127.0.0.1", 0))
    patch.setattr(MCPServer, "run", lambda server: None)
    patch.setattr(omni.tools.command, "end_at_once", lambda name: None)
    load = cache(verbs.load)
    for module in (verbs, omni.search.command, omni.tools.command):
        patch.setattr(module, "load", load)


def go(training: train.Training, resume: bool, changed: bool) -> bool:
    """In place of the steps: whether there is something to learn from the data."""
    loader, config = training.loader, training.config
    learnable.check(config.loss, loader.masks, loader.has_answers, ", ".join(config.data.path))
    return True
