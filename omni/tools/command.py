"""omni mcp."""

import argparse

from omni.interface import default, load
from omni.interrupt import end_at_once
from omni.pretrained import digest
from omni.search.command import open_index


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `omni mcp`."""
    parser.add_argument("--model", help="run, folder or hub name (default: runs/demo)")
    parser.add_argument("--index", help="folder of an index or milvus:URI: what is searched")
    parser.add_argument("--device", default="auto")


def run(arguments: argparse.Namespace) -> None:
    """Serves one assistant over standard input and output until it leaves.

    Raises `ValueError` where there is no such model or index, or no MCP.
    """
    try:
        from omni.tools.abilities import Abilities, make_server
    except ImportError as error:
        raise ValueError(f"omni mcp needs: pip install -e '.[mcp]' ({error})") from error
    name = digest(arguments.model or default())
    index = open_index(arguments.index, name) if arguments.index else None
    model = load(arguments.model, arguments.device)
    model.reads_files = False  # the assistant must not learn which files there are
    server = make_server(Abilities(model, index))
    end_at_once("omni mcp")  # a thread waits for the next line of standard input
    server.run()
