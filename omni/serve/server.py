"""The process that listens."""

import asyncio
import gc
import math
import resource
import signal
import sys

import uvicorn
from fastapi import FastAPI

from omni.serve.app import create
from omni.serve.connection import Connection
from omni.serve.settings import HEADER_SECONDS, MAX_CONNECTIONS, MAX_HEADER, Settings

FILES = 2 * MAX_CONNECTIONS
"""that the process may have open, where the system lets it"""


def serve(settings: Settings, host: str, port: int) -> None:
    """Serves until SIGTERM or Ctrl-C; then what is asked already is answered.

    SIGTERM exits with 0, Ctrl-C as everywhere (`omni.interrupt`). Raises `ValueError` for a model
    that cannot be loaded.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which asyncio ends in order
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    gc.freeze()  # as in `preload`
    print(f"loading {', '.join(settings.models)}", file=sys.stderr)
    asyncio.run(live(create(settings), host, port))


async def live(app: FastAPI, host: str, port: int) -> None:
    """The app with its processes, listening within the limits."""
    config = uvicorn.Config(
        app, host, port, http=Connection, ws="none", lifespan="off", log_level="error",
        access_log=False, server_header=False, backlog=MAX_CONNECTIONS,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=int(HEADER_SECONDS),
        timeout_graceful_shutdown=math.ceil(app.state.settings.seconds),
        h11_max_incomplete_event_size=MAX_HEADER,
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        print(f"http://{host}:{port}/docs", file=sys.stderr)
        app.state.server = uvicorn.Server(config)
        await app.state.server.serve()
