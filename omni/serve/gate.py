"""What every request passes before anything is done: its host, its key, its size, its time."""

import asyncio
import hmac
import time
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni.serve import origin
from omni.serve.errors import problem
from omni.serve.metrics import Metrics
from omni.serve.settings import BODY_SECONDS, MAX_BODY, MAX_HELD, Settings

OPEN = ("/healthz", "/readyz")
"""answered without a key, as is the page"""
GUARDED = ("/v1/", "/metrics")


class Held:
    """Bytes that one request holds; all together hold no more than `MAX_HELD`.

    Args:
        all: what every one that lives holds.
    """

    def __init__(self, all: dict[int, int]) -> None:
        self.all = all

    def take(self, size: int) -> None:
        """Holds so many more, until the request is answered. Raises `HTTPException` 429."""
        if sum(self.all.values()) + size > MAX_HELD:
            told = "other requests hold all the memory there is for them: try again"
            raise HTTPException(429, told, {"Retry-After": "1"})
        self.all[id(self)] = self.all.get(id(self), 0) + size

    def release(self) -> None:
        """Holds nothing."""
        self.all.pop(id(self), None)


class Gate:
    """An ASGI app around another.

    Bodies are read here, whole and bounded; the app finds them in memory, and in
    `request.state.held` where to say what else it holds.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.held: dict[int, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held, begin, status = Held(self.held), time.monotonic(), 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            scope.setdefault("state", {})["held"] = held
            try:
                async with asyncio.timeout(self.settings.seconds):
                    origin.check(scope, self.settings.hosts)
                    self._check_key(scope)
                    body = await _read(scope, receive, held)
                    await self.app(scope, _replay(body, receive), note)
            except HTTPException as error:
                answer = problem(error.status_code, error.detail, dict(error.headers or {}))
                await answer(scope, receive, note)
            except TimeoutError:
                if status:
                    raise  # half an answer is ended by closing the connection
                await problem(503, "this took too long", {"Retry-After": "1"})(scope, receive, note)
        finally:
            held.release()
            self.metrics.note(scope, status, time.monotonic() - begin)

    def _check_key(self, scope: Scope) -> None:
        if not self.settings.keys or not scope["path"].startswith(GUARDED):
            return
        scheme, _, key = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        fits = [hmac.compare_digest(key, known.encode()) for known in self.settings.keys]
        if scheme.lower() != b"bearer" or not any(fits):
            told = "a key is needed: Authorization: Bearer KEY"
            raise HTTPException(401, told, {"WWW-Authenticate": "Bearer"})


async def _read(scope: Scope, receive: Receive, held: Held) -> bytes:
    """The body. Raises `HTTPException` where it is too large, before it is read, or too slow."""
    large = HTTPException(
        413, f"a body must have at most {MAX_BODY} bytes", {"Connection": "close"}
    )
    told = _lengths(scope["headers"])
    if told is not None and told > MAX_BODY:
        raise large
    held.take(told or 0)
    chunks, size, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HTTPException(400, "the body was not sent to its end")
                chunk, more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size > MAX_BODY:
                    raise large
                if told is None:
                    held.take(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        slow = f"the body did not come within {BODY_SECONDS:.0f} seconds"
        raise HTTPException(408, slow, {"Connection": "close"}) from None
    return b"".join(chunks)


def _lengths(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The content-length, of whose form the parser of HTTP has made sure."""
    return next((int(value) for name, value in headers if name == b"content-length"), None)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body at once."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
