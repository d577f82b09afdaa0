"""A process that dies, hangs or is ended by a key is replaced, and nothing is left of it."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from omni.serve.app import create
from omni.serve.process import LostError, Process
from omni.serve.settings import Settings
from tests.serve.conftest import Service, run


def open_counter(start: int) -> tuple[str, Callable[[object], object]]:
    """Counts what it is asked; "die" and "hang" do so."""
    if start < 0:
        raise ValueError("start must not be negative")
    count = start

    def answer(request: object) -> object:
        nonlocal count
        if request == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if request == "hang":
            signal.pause()
        count += 1
        return count

    return "a counter", answer


def test_a_process_that_dies_or_hangs_is_replaced() -> None:
    async def use() -> None:
        process = Process(1.0, open_counter, 5)
        await process.start()
        assert process.about == "a counter" and process.ready
        assert [await process.ask("a"), await process.ask("b")] == [6, 7]
        for way in ("die", "hang"):
            with pytest.raises(LostError):
                await process.ask(way)
            assert await process.ask("a") == 6
        await process.stop()
        assert not process.ready

    asyncio.run(use())


def test_what_a_process_refuses_as_it_starts_is_told() -> None:
    process = Process(1.0, open_counter, -1)
    with pytest.raises(ValueError, match="start must not be negative"):
        asyncio.run(process.start())


def model_of(service: Service) -> psutil.Process:
    return psutil.Process(service.app.state.engines["tiny"].process._process.pid)


def test_a_killed_model_costs_its_requests_alone_and_is_back(service: Service) -> None:
    draw = {"prompt": "red circle", "steps": 50, "n": 8}
    answers: list[httpx.Response] = []

    async def kill() -> None:
        task = asyncio.create_task(
            asyncio.to_thread(service.client.post, "/v1/images/generations", json=draw)
        )
        while not service.app.state.engines["tiny"].queue.count:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        model_of(service).kill()
        answers.append(await task)

    asyncio.run(kill())
    assert answers[0].status_code == 503 and "retry-after" in answers[0].headers
    begin = time.monotonic()
    while (got := service.client.post("/v1/embeddings", json={"input": "a"})).status_code != 200:
        assert got.status_code == 503
    print(f"back after {time.monotonic() - begin:.2f} s")
    assert service.client.get("/readyz").status_code == 200


def test_a_model_that_is_killed_while_nobody_asks_is_back_by_itself(service: Service) -> None:
    old = model_of(service)
    old.kill()
    while old.is_running() or service.client.get("/readyz").status_code != 200:
        time.sleep(0.02)
    assert service.client.post("/v1/embeddings", json={"input": "a"}).status_code == 200


def test_a_service_with_keys_is_asked_with_one(tiny_run: Path) -> None:
    """And a request that takes longer than it may is ended, with the process that works on it."""
    keys = frozenset({"k" * 20, "l" * 20})
    for service in run(create(Settings({"tiny": str(tiny_run)}, keys=keys, seconds=1.0))):
        asked = {"json": {"input": "a"}}
        for told in ({}, {"authorization": "Bearer nokey"}, {"authorization": "k" * 20}):
            for path in ("/v1/embeddings", "/v1/nothing", "/metrics"):
                answer = service.client.post(path, **asked, headers=told)
                assert answer.status_code == 401 and answer.json()["error"]["message"]
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/readyz").status_code == 200
        good = {"authorization": f"Bearer {'l' * 20}"}
        assert service.client.post("/v1/embeddings", **asked, headers=good).status_code == 200
        assert (
            service.client.post("/v1/search", json={"text": "a"}, headers=good).status_code == 404
        )
        told = service.client.get("/metrics", headers=good).text
        assert 'omni_requests_total{method="POST",route="/v1/embeddings",status="200"} 1.0' in told
        model_of(service).suspend()
        assert service.client.post("/v1/embeddings", **asked, headers=good).status_code == 503
        while service.client.post("/v1/embeddings", **asked, headers=good).status_code != 200:
            pass
        left = [p._process.pid for p in service.app.state.decoders._all]
    assert not [pid for pid in left if psutil.pid_exists(pid)]
