"""Clients that mean harm, and processes that die: what becomes of the service."""

import asyncio
import base64
import io
import time
from collections import Counter

import numpy as np
import psutil
import soundfile
from PIL import Image

from omni.bench.client import Answer, Client, once, percentiles, written
from omni.bench.service import Service, Watch

PATH = "/v1/embeddings"
GOOD = {"input": "a red circle"}
SLOW = 300
BOMBS = 8
ASKED = 64
PATIENCE = 60.0
"""seconds after which what should come is no longer waited for"""


async def stall(service: Service) -> str:
    """Connections that send half of their headers, then ones that send half of their body."""
    whole, lines = written(PATH, GOOD), []
    head = whole.index(b"\r\n\r\n")
    for what, sent, goal in (("header", whole[: head - 9], 6), ("body", whole[:-9], 11)):
        closing = asyncio.gather(*(_closed(service.port, sent) for _ in range(SLOW)))
        await asyncio.sleep(1.0)  # all are there
        good: list[Answer] = []
        while not closing.done():
            good.append(await once(service.port, PATH, GOOD))
            await asyncio.sleep(0.05)
        statuses = {answer.status for answer in good}
        lines += [
            f"{SLOW} connections with half a {what}: closed within {max(await closing):.1f} s"
            f" (goal: {goal})",
            f"  others meanwhile got {statuses}, {percentiles(good)} (goal: 100 ms)",
        ]
    return "\n".join(lines)


async def _closed(port: int, sent: bytes) -> float:
    """Seconds until a connection that says so much, and no more, is closed."""
    async with Client(port) as client:
        client.writer.write(sent)
        begin = time.perf_counter()
        try:
            while await client.reader.read(4096):
                pass
        except ConnectionResetError:
            pass  # closed, too
        return time.perf_counter() - begin


async def bomb(service: Service) -> str:
    """Small files of large pictures and long recordings, all at once."""
    bodies = ([{"input": {"image": _picture()}}, {"input": {"audio": _recording()}}] * BOMBS)[
        :BOMBS
    ]
    with Watch(service) as watch:
        answers = await asyncio.gather(*(once(service.port, PATH, body) for body in bodies))
    statuses = dict(Counter(answer.status for answer in answers))
    growth = watch.growth / 2**20
    return f"{BOMBS} bombs at once: {statuses}, memory + {growth:.0f} MiB (goal: no 5xx, 300 MiB)"


def _picture() -> str:
    file = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _recording() -> str:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((2_000_000, 8), np.int16), 96_000, format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"


async def kill(service: Service) -> str:
    """The model's process is killed while it works on a request."""
    model = service.model
    model.suspend()
    asked = asyncio.create_task(once(service.port, PATH, GOOD))
    await _waiting(service, 1)
    model.kill()
    status, begin = (await asked).status, time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        while (await once(service.port, PATH, GOOD)).status != 200:
            await asyncio.sleep(0.01)
    took = time.perf_counter() - begin
    return f"a killed model: its request got {status}, the next 200 after {took:.2f} s (goal: 3)"


async def terminate(service: Service) -> str:
    """SIGTERM while requests wait for the model, which is held until then."""
    model, processes = service.model, service.processes
    model.suspend()
    asked = asyncio.gather(*(once(service.port, PATH, GOOD) for _ in range(ASKED)))
    await _waiting(service, ASKED)
    service.main.terminate()
    await asyncio.sleep(0.5)
    model.resume()
    statuses = dict(Counter(answer.status for answer in await asked))
    code = await asyncio.to_thread(service.wait, PATIENCE)
    psutil.wait_procs(processes, 20)
    left = sum(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    return f"SIGTERM over {ASKED} requests: {statuses}, exit code {code}, {left} processes left"


async def _waiting(service: Service, count: int) -> None:
    """Until so many items wait for the model."""
    line = f'omni_waiting_items{{model="model"}} {count:.1f}\n'.encode()
    async with asyncio.timeout(PATIENCE):
        while line not in (await once(service.port, "/metrics")).body:
            await asyncio.sleep(0.01)


FAULTS = (stall, bomb, kill, terminate)
"""the last one ends the service"""
