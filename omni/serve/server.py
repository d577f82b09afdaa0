"""The process that listens."""

import asyncio
import resource
import signal
import sys

import uvicorn

from omni.serve.app import create
from omni.serve.connection import Connection
from omni.serve.settings import HEADER_SECONDS, MAX_CONNECTIONS, MAX_HEADER, Settings

GRACE = 10
"""seconds that requests have to end in when the service is to"""


def serve(settings: Settings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT; then what is asked already is answered, and it exits."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    enough = 2 * MAX_CONNECTIONS if most == resource.RLIM_INFINITY else most
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * MAX_CONNECTIONS, enough), most))
    app = create(settings)
    config = uvicorn.Config(
        app, host, port, http=Connection, ws="none", lifespan="off", log_level="error",
        access_log=False, server_header=False, backlog=MAX_CONNECTIONS,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=int(HEADER_SECONDS),
        timeout_graceful_shutdown=GRACE, h11_max_incomplete_event_size=MAX_HEADER,
    )  # fmt: skip

    async def live() -> None:
        print(f"loading {', '.join(settings.models)}", file=sys.stderr)
        async with app.router.lifespan_context(app):
            print(f"http://{host}:{port}/docs", file=sys.stderr)
            await uvicorn.Server(config).serve()

    asyncio.run(live())
