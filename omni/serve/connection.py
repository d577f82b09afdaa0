"""Connections that do not wait for ever: uvicorn bounds neither headers nor what is not read."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from omni.serve.settings import HEADER_SECONDS


class Connection(H11Protocol):
    """HTTP/1.1 of which each request's headers must be there `HEADER_SECONDS` after the last."""

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to count."""
        super().connection_made(transport)
        self._count()

    def on_response_complete(self) -> None:
        """Counts anew; also until the client has read what was answered."""
        super().on_response_complete()
        self._count()

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts no more."""
        super().connection_lost(exc)
        if self.deadline:
            self.deadline.cancel()

    def _count(self) -> None:
        if self.deadline:
            self.deadline.cancel()
        self.deadline = self.loop.call_later(HEADER_SECONDS, self._end)

    def _end(self) -> None:
        """Closes it, unless a request is being worked on, which has a deadline of its own."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
