"""The command line: `omni embed | search | caption | transcribe | ask | draw | speak`, ...

An item is a file where there is one of that name, or where it looks like a path: it begins with /,
./, ../ or ~/, lies in a folder that is there, or ends like a picture, a recording, a video or a
document (.heic, .m4a and .pdf too, which are refused). Anything else is a text: "red apple / green
pear", "and/or", "v1.5". --text makes texts of all items. A folder stands for the files in it, "-"
for the lines of standard input, an item each. What is damaged, missing or of no known format is
reported in one line, and the rest is still done; the exit status is then 2, after Ctrl-C 130.
"""

import argparse
import io
import sys
from pathlib import Path

from omni import verbs
from omni.interface import default
from omni.names import to_text
from omni.search import command as index
from omni.serve import command as service
from omni.tools import command as tools

EXAMPLES = """examples:
  omni draw "a red apple" --out drawings
  omni speak "a red apple" picture.png --out spoken
  omni caption *.png --to captions.txt
  omni transcribe - < list-of-recordings.txt
  omni draw "a red apple" --keep plate.png --mask around.png
  omni ask "what colour is it?" *.png --choices red,green,blue
  omni search --gallery pictures/ "a red apple" question.wav
  omni search --gallery apple.png --gallery pear.png question.wav
  omni embed picture.png --to vectors.jsonl
  omni embed --text "a note on photo.heic"
"""

TEXT = "items are texts, even those that look like files"

HELP = {
    "embed": "unit vectors of pictures, recordings or texts, as JSON lines",
    "search": "the best of a gallery for each query",
    "caption": "name what a picture or a video shows",
    "transcribe": "write down what a recording says",
    "ask": "the answer to a question about each picture, recording or video",
    "draw": "a picture of a text or a recording",
    "speak": "speech from a text or a picture",
}


def run() -> None:
    """Parse the arguments and run one command."""
    arguments = _parser().parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal cannot show
    errors: list[str] = []
    try:
        if arguments.command == "bench":
            _bench(arguments)
        elif arguments.command == "index":
            index.run(arguments, errors)
        elif arguments.command == "serve":
            service.run(arguments)
        elif arguments.command == "mcp":
            tools.run(arguments)
        else:
            verbs.run(arguments, errors)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        errors.append(str(error))
    for error in errors:
        line = " ".join(to_text(error).split())
        print(f"omni {arguments.command}: {line}", file=sys.stderr)
    sys.exit(2 if errors else 0)


def _bench(arguments: argparse.Namespace) -> None:
    """Imported late: the measurements bring along what they compare with."""
    if arguments.what == "step":
        from omni.bench import step

        step.run(arguments.preset, arguments.device)
    elif arguments.what == "serve":
        from omni.bench import serve

        serve.run(arguments.model)
    elif arguments.what == "index":
        from omni.bench import index

        index.run(arguments.vectors, arguments.width)
    else:
        from omni.bench import loader

        loader.run(arguments.samples, arguments.repeat)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="omni", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    _add_verbs(commands)
    text = "an index of many items, kept on disk"
    index.add_arguments(commands.add_parser("index", help=text, description=text))
    text = "an HTTP service, as OpenAI's clients call it, and a search engine"
    service.add_arguments(commands.add_parser("serve", help=text, description=text))
    text = "tools for an assistant that speaks MCP, over standard input and output"
    tools.add_arguments(commands.add_parser("mcp", help=text, description=text))
    _add_bench(commands)
    return parser


def _add_verbs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "ask":
            command.add_argument("question")
            command.add_argument("--choices", help="the answers to choose from, A,B,...")
        command.add_argument(
            "items", nargs="+", help='files, folders or texts; "-": standard input'
        )
        command.add_argument("--text", action="store_true", help=TEXT)
        command.add_argument("--model", help="run, folder or hub name (default: runs/demo)")
        command.add_argument("--device", default="auto")
        command.add_argument("--json", action="store_true", help="JSON lines, not a table")
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
            where = "a file, folder or text to search in; may be given several times"
            command.add_argument("--gallery", action="append", required=True, help=where)
            command.add_argument("-k", type=int, default=5, help="answers a query")
            again = "so many of the best are looked at again, together with the query"
            command.add_argument("--rerank", type=int, default=0, help=again)


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "how fast this machine trains, reads, serves and finds"
    command = commands.add_parser("bench", help=about, description=about)
    command.add_argument("what", choices=("step", "loader", "serve", "index"))
    command.add_argument("--preset", default="demo", help="of step")
    command.add_argument("--device", default="auto", help="of step")
    command.add_argument("--model", default=default(), help="of serve: a run, folder or hub name")
    command.add_argument("--samples", type=int, default=1024, help="of loader, in each data set")
    command.add_argument("--repeat", type=int, default=3, help="of loader; the median counts")
    command.add_argument("--vectors", type=int, default=1_000_000, help="of index")
    command.add_argument("--width", type=int, default=256, help="of index: numbers of a vector")
