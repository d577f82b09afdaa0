"""The command line: `python -m data.prepare pack | index | tokenizer | check | show`."""

import argparse
import io
import sys
from typing import Protocol

from omni.interrupt import interruptible

COMMANDS = ("pack", "index", "tokenizer", "check", "show")


class Command(Protocol):
    """A module of one command."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the options of the command."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Does it; returns the exit status. Raises `ValueError` or `OSError` for the user."""
        ...


def load(name: str) -> Command:
    """The module of a command; the others are not imported, nor what they need."""
    match name:
        case "pack":
            from data.prepare import pack as command
        case "index":
            from data.prepare import index as command
        case "tokenizer":
            from data.prepare import tokenizer as command
        case "check":
            from data.prepare import check as command
        case _:
            from data.prepare import show as command
    return command


def main(argv: list[str] | None = None) -> int:
    """Runs one command; what the user got wrong is one line, and 2."""
    with interruptible("data.prepare"):
        return run(sys.argv[1:] if argv is None else argv)


def run(argv: list[str]) -> int:
    """The exit status of one command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal cannot show
    first = argparse.ArgumentParser("python -m data.prepare", description=__doc__)
    first.add_argument("command", choices=COMMANDS)
    name = first.parse_args(argv[:1]).command
    command = load(name)
    summary = (command.__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(f"python -m data.prepare {name}", description=summary)
    command.add_arguments(parser)
    arguments = parser.parse_args(argv[1:])
    try:
        return command.run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
