"""The process that listens."""

import asyncio
import gc
import math
import resource
import signal
import sys
from socket import socket

import uvicorn
from fastapi import FastAPI

from omni.serve.app import create
from omni.serve.connection import Connection
from omni.serve.process import LostError
from omni.serve.settings import HEADER_SECONDS, MAX_CONNECTIONS, MAX_HEADER, Settings

FILES = 2 * MAX_CONNECTIONS
"""that the process may have open, where the system lets it"""


def serve(settings: Settings, listening: socket, address: str) -> None:
    """Serves until SIGTERM or Ctrl-C; then what is asked already is answered.

    SIGTERM exits with 0, Ctrl-C as everywhere (`omni.interrupt`). Raises `ValueError` for a model
    that cannot be loaded, and where no index can be made.

    Args:
        listening: where requests come in; those that come while a model is loaded wait.
        address: of the page, as it is told once requests are answered.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which asyncio ends in order
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    gc.freeze()  # as in `preload`
    print(f"loading {', '.join(settings.models)}", file=sys.stderr)
    try:
        asyncio.run(live(create(settings), listening, address))
    except LostError as error:
        raise ValueError(f"a model cannot be loaded: {error}") from error


async def live(app: FastAPI, listening: socket, address: str) -> None:
    """The app with its processes, listening within the limits. Raises `ValueError` as `serve`."""
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_level="error",
        access_log=False, server_header=False, backlog=MAX_CONNECTIONS,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=int(HEADER_SECONDS),
        timeout_graceful_shutdown=math.ceil(app.state.settings.seconds),
        h11_max_incomplete_event_size=MAX_HEADER,
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        print(address, file=sys.stderr, flush=True)
        app.state.server = uvicorn.Server(config)
        # It may have failed before there was a server to end.
        app.state.server.should_exit = bool(app.state.failure)
        await app.state.server.serve([listening])
    if app.state.failure:
        raise ValueError(app.state.failure)
