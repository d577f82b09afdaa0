"""omni serve."""

import argparse
import hashlib
import ipaddress
from collections.abc import Callable
from pathlib import Path
from socket import socket

from omni.interface import default
from omni.pretrained import digest, find
from omni.search.index import CATALOGUE
from omni.search.reading import check_folder
from omni.serve import hosts
from omni.serve.address import bind, page
from omni.serve.settings import Settings

SAMPLE = "data/sample"
"""that lies in a checkout"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `omni serve`."""
    models = "runs, folders or hub names; NAME=RUN gives one a name (default: runs/demo)"
    parser.add_argument("--model", nargs="+", default=[default()], help=models)
    index = "an index, or a folder of shards or of pictures, sounds and texts to make one of"
    parser.add_argument("--index", type=Path, help=index)
    root = "files below it that the index knows may be given out (default: the folder indexed)"
    parser.add_argument("--root", type=Path, help=root)
    data = "data sets that jobs may use; NAME=FOLDER gives one a name (default: data/sample)"
    parser.add_argument("--data", nargs="*", default=[SAMPLE], help=data)
    jobs = (
        "trainings, evaluations and indexes that run at once, in ./runs; 0: none may be asked for"
    )
    parser.add_argument("--jobs", type=int, default=1, help=jobs)
    parser.add_argument("--host", default="127.0.0.1", help="name or address to listen at")
    names = (
        "further names that requests may call this service by (without --key: these, --host and"
        " localhost alone; with --key: any, unless some are given)"
    )
    parser.add_argument("--allow-host", nargs="+", default=[], metavar="NAME", help=names)
    parser.add_argument("--port", type=int, default=8000)
    keys = "file of keys, a line each, of which requests must bear one"
    parser.add_argument("--key", type=Path, help=keys)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=32, help="items that a model takes together")


def run(arguments: argparse.Namespace) -> None:
    """Serves until it is told to end. Raises `ValueError` for what cannot be served."""
    serve = _server()
    host = arguments.host.removeprefix("[").removesuffix("]")
    if not arguments.key and not _is_local(host):
        raise ValueError(f"--host {host} is open to others: it needs --key FILE")
    settings = read(arguments)
    with bind(host, arguments.port) as listening:
        serve(settings, listening, page(listening, host))


def read(arguments: argparse.Namespace) -> Settings:
    """The service that is asked for.

    Raises `ValueError` for what cannot be served.
    """
    keys = _keys(arguments.key)
    if arguments.batch < 1:
        raise ValueError(f"--batch must be at least 1, got {arguments.batch}")
    if arguments.jobs < 0:
        raise ValueError(f"--jobs must be at least 0, got {arguments.jobs}")
    models = _models(arguments.model)
    first = next(iter(models.values()))
    index, root, source = arguments.index, arguments.root, None
    if index is not None and not (index / CATALOGUE).is_file():
        check_folder(index)
        source, root = index, root or index
        index = _place(source, first)
    if index is not None and (index / CATALOGUE).is_file():
        source = None
    return Settings(
        models,
        index,
        root,
        source,
        data=_data(arguments.data),
        jobs=arguments.jobs,
        hosts=_hosts(arguments),
        keys=keys,
        device=arguments.device,
        batch=arguments.batch,
    )


def _server() -> Callable[[Settings, socket, str], None]:
    """Imported late: what speaks HTTP, the extra `serve`, is for this alone."""
    try:
        from omni.serve.server import serve
    except ImportError as error:
        raise ValueError(f"to serve needs: pip install -e '.[serve]' ({error})") from error
    return serve


def _keys(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        keys = frozenset(filter(None, map(str.strip, path.read_text("ascii").splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--key {path} must be a file of keys in ASCII: {error}") from error
    if not keys or min(map(len, keys)) < 16:
        raise ValueError(f"--key {path} must hold keys of at least 16 characters, a line each")
    return keys


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(arguments: argparse.Namespace) -> frozenset[str] | None:
    """The names that it answers to. A key guards it, too: with one, it answers to any."""
    allowed = hosts.names(arguments.allow_host)
    if arguments.key and not allowed:
        return None
    return hosts.LOCAL | hosts.names([arguments.host]) | allowed


def _models(arguments: list[str]) -> dict[str, str]:
    """Runs by name."""
    models = _named(arguments)
    for run in models.values():
        find(run)
    return models


def _data(arguments: list[str]) -> dict[str, Path]:
    """Folders of data sets by name; the one that is meant where none is given may be missing."""
    found = {name: Path(folder) for name, folder in _named(arguments).items()}
    for name, folder in found.items():
        if not folder.is_dir() and arguments != [SAMPLE]:
            raise ValueError(f"--data {name}={folder} must be a folder")
    return {name: folder for name, folder in found.items() if folder.is_dir()}


def _named(arguments: list[str]) -> dict[str, str]:
    """What stands behind NAME=; without a name, the last part of the path is that."""
    named: dict[str, str] = {}
    for argument in arguments:
        name, given, path = argument.partition("=")
        name, path = (name, path) if given else (Path(argument).name, argument)
        if name in named:
            raise ValueError(f"two have the name {name!r}: say NAME={path}")
        named[name] = path
    return named


def _place(source: Path, run: str) -> Path:
    """Where the index of a folder is, which is made once for a model and kept beside it."""
    told = hashlib.sha256(f"{digest(run)} {source.resolve()}".encode()).hexdigest()[:16]
    return (Path(run) if Path(run).is_dir() else Path("runs")) / "indexes" / told
