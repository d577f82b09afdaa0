"""Shell lines of documents: in fenced `sh` blocks, in backticks, in docstrings and in --help."""

import argparse
import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from omni.command import _parser

DOCUMENTS = [
    "README.md",
    "data/README.md",
    "eval/README.md",
    "docs/architecture.md",
    "docs/loader.md",
    "docs/service.md",
    "docs/training.md",
]
RECORDS = {"docs/log.md"}
"""what was run, each line at a commit of its own: it is not to be changed with the commands"""

PROGRAM = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:omni|python|torchrun|pip|make|serve run) \S")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTED = r"'[^'\n]*'|\"[^\"\n]*\""
COMMENT = re.compile(rf"({QUOTED})|(?:^|[ \t])#[^\n]*", re.MULTILINE)
BREAK = re.compile(rf"({QUOTED}|\([^)\n]*\))|[ \t]*(?:&&|;)[ \t]*|\n")


class Line(NamedTuple):
    """A command, the document that it stands in, and whether it is only named in a sentence."""

    document: str
    text: str
    inline: bool = False


def documents(root: Path) -> list[Line]:
    """Return the lines of all pages, docstrings and help texts."""
    lines = [line for name in DOCUMENTS for line in page(name, (root / name).read_text("utf-8"))]
    sources = [root / "train.py"]
    for folder in ("omni", "data", "eval"):
        sources += sorted((root / folder).rglob("*.py"))
    for file in sources:
        name = file.relative_to(root).as_posix()
        for text in docstrings(file.read_text("utf-8")):
            lines += [*indented(name, text), *spans(name, text)]
    for parser in parsers(_parser()):
        lines += indented("omni --help", parser.epilog or "")
    return lines


def page(name: str, text: str) -> Iterator[Line]:
    """Yield the lines of a Markdown page, in order: those of its `sh` blocks, then the others."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from (Line(name, command) for command in commands(block))
    yield from spans(name, FENCE.sub("", text))


def commands(block: str) -> Iterator[str]:
    """Yield the commands of a block: a continued line is one, `a && b; c` are three."""
    block = re.sub(r"[ \t]*\\\n\s*", " ", block)
    # What a here-document holds is part of its command, and a loop is one command.
    for whole in re.split(r"(?m)(^.*<<'END'(?:.*\n)*?END$|^for .*; done)", block):
        if "<<'END'" in whole or whole.startswith("for "):
            yield whole
            continue
        bare = COMMENT.sub(lambda match: match[1] or "", whole)
        split = BREAK.sub(lambda match: match[1] or "\0", bare).split("\0")
        yield from (command.strip() for command in split if command.strip())


def spans(name: str, text: str) -> Iterator[Line]:
    """Yield what stands in backticks and begins with a program, perhaps across lines."""
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
        command = " ".join(span.split())
        if PROGRAM.match(command):
            yield from (Line(name, each, inline=True) for each in alternatives(command))


def indented(name: str, text: str) -> Iterator[Line]:
    """Yield the lines of plain text that begin with a program."""
    joined = re.sub(r"[ \t]*\\\n\s*", " ", text)
    lines = (COMMENT.sub(lambda match: match[1] or "", line).strip() for line in joined.split("\n"))
    # A sentence may begin a line with the word, so a command has no full stop.
    for line in lines:
        if PROGRAM.match(line) and not line.endswith((".", ",", ":", "...")):
            yield from (Line(name, each) for each in alternatives(line))


def alternatives(command: str) -> list[str]:
    """Return all commands that a synopsis means: `a | b` is one of two, `[c]` may be left out."""
    if "'" in command or '"' in command:  # brackets in quotes are of names: '.[eval]'
        return [command]
    command = re.sub(r" ?(?:…|\.\.\.)", "", command)
    if inner := re.search(r" ?\[([^][]*)\]", command):
        start, end = command[: inner.start()], command[inner.end() :]
        longer = f"{start} {inner[1]}{end}" if inner[1] else command[: inner.start()] + end
        return list(dict.fromkeys([*alternatives(start + end), *alternatives(longer)]))
    pieces = re.findall(r"\S+(?: \| \S+)+|\S+", command.removesuffix(" |"))
    return [" ".join(words) for words in product(*(piece.split(" | ") for piece in pieces))]


def docstrings(source: str) -> Iterator[str]:
    """Yield the docstrings of a module, of its classes and of its functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands, at any depth."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)
