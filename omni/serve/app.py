"""The HTTP service as an ASGI app."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from omni.serve import audio, chat, embeddings, errors, health, images, search, static, work
from omni.serve.decoder import Decoders
from omni.serve.engine import Engine
from omni.serve.gate import Gate
from omni.serve.indexing import Indexing
from omni.serve.jobs import Jobs
from omni.serve.metrics import Metrics
from omni.serve.orders import ROOT
from omni.serve.settings import Settings
from omni.serve.work import follow


def create(settings: Settings) -> FastAPI:
    """The app; its processes start and end with it.

    `app.state` has `settings`, `engines` by the name of their model, `decoders`, the `jobs` and
    the `index`, if there may be any, and the `failure` for which it ends. Raises `ValueError`, as
    it starts, for a model that cannot be loaded.
    """
    metrics = Metrics()
    app = FastAPI(
        title="omni", lifespan=_live, docs_url=None, redoc_url=None, openapi_url="/openapi.json"
    )
    app.state.settings, app.state.decoders, app.state.jobs = settings, Decoders(), None
    app.state.index, app.state.server, app.state.failure = None, None, ""
    app.state.engines = {name: Engine(name, settings) for name in settings.models}
    for name, engine in app.state.engines.items():
        metrics.watch(name, lambda e=engine: e.queue.count, lambda e=engine: e.process.ready)
    errors.install(app)
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    for noun in (embeddings, images, audio, chat, search, work, health, static):
        app.include_router(noun.router)
    app.include_router(audio.forms)
    app.include_router(metrics.router())
    app.mount("/page", static.files)
    return app


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    """What stands between the first request and the last."""
    settings: Settings = app.state.settings
    async with AsyncExitStack() as stack:
        for part in (app.state.decoders, *app.state.engines.values()):
            stack.push_async_callback(part.stop)
            await part.start()
        if settings.jobs:
            here = {"PYTHONPATH": str(ROOT)}
            app.state.jobs = Jobs(settings.runs / "jobs", settings.jobs, here)
            stack.callback(app.state.jobs.close)
            stack.callback(asyncio.create_task(follow(app.state.jobs)).cancel)
        if settings.index is not None:
            app.state.index = Indexing(settings, lambda reason: _fail(app, reason))
            stack.push_async_callback(app.state.index.stop)
            await app.state.index.start()
        yield


def _fail(app: FastAPI, reason: str) -> None:
    """End the service: what it was started for cannot be done."""
    app.state.failure = reason
    if app.state.server is not None:
        app.state.server.should_exit = True
