"""What is answered when something is wrong, in the shape that OpenAI's clients know."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from omni.serve.process import LostError
from omni.serve.queue import FullError

LONGEST = 500
"""characters of a reason: it may tell of what was sent"""


def problem(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to what cannot be done."""
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": reason[:LONGEST], "type": kind, "code": code}
    return JSONResponse({"error": error}, status, headers)


def install(app: FastAPI) -> None:
    """What becomes of each exception; none tells of files or code."""

    @app.exception_handler(HTTPException)
    async def told(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()[:3]]
        return problem(422, "; ".join(faults))

    @app.exception_handler(FullError)
    async def full(_: Request, error: FullError) -> JSONResponse:
        return problem(429, str(error), {"Retry-After": "1"})

    @app.exception_handler(LostError)
    async def lost(_: Request, error: LostError) -> JSONResponse:
        return problem(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def fault(_: Request, __: Exception) -> JSONResponse:
        return problem(500, "an error of the server, which its log tells more about")
