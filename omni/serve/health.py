"""Whether the service lives, what it can do, and how it is asked."""

import html
import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from omni.serve.engine import engine_of
from omni.serve.indexing import READY

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """200 as long as the service answers at all."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """200 while every model is loaded and lives and the index is there, and 503 otherwise."""
    engines = request.app.state.engines.values()
    models = {engine.name: READY if engine.process.ready else "starting" for engine in engines}
    answer: dict[str, Any] = {"models": models}
    if request.app.state.index is not None:
        answer["index"] = request.app.state.index.state
    states = {*models.values(), answer.get("index", READY)}
    return JSONResponse(answer, 200 if states == {READY} else 503)


@router.get("/v1/models", tags=["OpenAI"])
async def models(request: Request) -> dict[str, Any]:
    """The models that a request may name."""
    return {"object": "list", "data": [_told(name) for name in request.app.state.engines]}


@router.get("/v1/models/{name}", tags=["OpenAI"])
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    return _told(engine_of(request, name).name)


def _told(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "omni"}


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The routes and the fields of their bodies, on a page that loads nothing from elsewhere."""
    schema = request.app.openapi()
    routes = "".join(
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(told.get('description', ''))}</p>{_details(told)}"
        for path, methods in schema["paths"].items()
        for method, told in methods.items()
    )
    shapes = html.escape(json.dumps(schema["components"]["schemas"], indent=1))
    style = "body{max-width:50rem;margin:2rem auto;font-family:sans-serif}h2{font-size:1rem}"
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>omni: routes</title>"
        f"<style>{style}</style><h1>Routes</h1><p>As <a href=/openapi.json>OpenAPI</a>.</p>"
        f"{routes}<details><summary>Shapes</summary><pre>{shapes}</pre></details></html>"
    )


def _details(told: dict[str, Any]) -> str:
    body = told.get("requestBody")
    return f"<pre>{html.escape(json.dumps(body['content'], indent=1))}</pre>" if body else ""
