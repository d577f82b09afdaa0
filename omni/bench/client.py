"""Clients that ask a service over HTTP, many at once."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answer:
    """What came back, after how many seconds."""

    status: int
    head: bytes
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


class Client:
    """One connection to a service on this machine, kept until it is closed."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, path: str, body: Any = None) -> Answer:
        """GET, or POST of a body as JSON. Raises `OSError` or `EOFError` where it is cut off."""
        begin = time.perf_counter()
        self.writer.write(written(path, body))
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: (\d+)", head)
        data = await self.reader.readexactly(int(size[1]) if size else 0)
        return Answer(int(head.split(b" ", 2)[1]), head, data, time.perf_counter() - begin)


def written(path: str, body: Any = None) -> bytes:
    """A request as its bytes."""
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    kind = f"content-type: application/json\r\ncontent-length: {len(data)}"
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{kind}\r\n\r\n".encode() + data


async def once(port: int, path: str, body: Any = None) -> Answer:
    """One request on a connection of its own, of which the time counts, too."""
    begin = time.perf_counter()
    async with Client(port) as client:
        answer = await client.ask(path, body)
    return Answer(answer.status, answer.head, answer.body, time.perf_counter() - begin)


async def keep_asking(port: int, path: str, bodies: Sequence[Any], clients: int) -> list[Answer]:
    """All bodies, by so many clients, each of which asks as soon as it has been answered."""
    left, answers = iter(bodies), []

    async def work() -> None:
        async with Client(port) as client:
            for body in left:
                answers.append(await client.ask(path, body))

    await asyncio.gather(*(work() for _ in range(clients)))
    return answers


def percentiles(answers: list[Answer]) -> str:
    """Of the times that they took."""
    values = np.percentile([answer.seconds for answer in answers], (50, 95, 99)) * 1000
    return ", ".join(f"p{p} {v:.0f} ms" for p, v in zip((50, 95, 99), values, strict=True))
