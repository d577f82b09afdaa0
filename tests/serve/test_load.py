"""Many at once: all are answered, and those with 200 as if they had been alone."""

import asyncio
import json
import time

import numpy as np
import psutil

from omni.interface import Omni
from omni.serve.process import LostError
from omni.serve.queue import FullError, Queue
from tests.serve.conftest import Service


async def ask(port: int, body: bytes) -> tuple[int, bytes, bytes]:
    """Status, headers and body of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    told = await reader.read()
    writer.close()
    head, _, data = told.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), data


def test_a_thousand_at_once_are_answered_or_told_to_try_again(
    service: Service, tiny_model: Omni
) -> None:
    texts = [f"{colour} circle {n}" for n in range(10) for colour in ("red", "blue", "green")]
    expected = tiny_model.embed(texts).numpy()
    bodies = [json.dumps({"input": text}).encode() for text in texts]
    before = psutil.Process().memory_info().rss

    async def all_of_them() -> list:
        return await asyncio.gather(*(ask(service.port, bodies[n % 30]) for n in range(1000)))

    answers = asyncio.run(all_of_them())
    assert {status for status, _, _ in answers} == {200, 429}
    for n, (status, head, data) in enumerate(answers):
        if status == 429:
            assert b"retry-after: 1" in head
        else:
            vector = json.loads(data)["data"][0]["embedding"]
            assert np.abs(vector - expected[n % 30]).max() < 1e-5
    assert sum(status == 200 for status, _, _ in answers) > 100
    assert psutil.Process().memory_info().rss - before < 100 << 20
    assert service.app.state.engines["tiny"].queue.count == 0


class Echo:
    """Stands for a process: answers with what it is asked, and keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[tuple] = []

    async def ask(self, request: tuple) -> list:
        self.batches.append(request)
        await asyncio.sleep(0.01)
        if "fatal" in request[2]:
            raise LostError("dead")
        return request[2]

    async def start(self) -> None: ...


def through(batch: int, size: int, requests: list[tuple]) -> tuple[list, list]:
    """What becomes of requests that come at once, and the batches that they made."""
    echo = Echo()

    async def run() -> list:
        queue = Queue(echo, batch, size)
        task = asyncio.create_task(queue.run())
        answers = await asyncio.gather(*(queue.ask(*r) for r in requests), return_exceptions=True)
        assert queue.count == 0
        task.cancel()
        return answers

    return asyncio.run(run()), echo.batches


def test_requests_of_one_kind_go_together_and_each_gets_its_own() -> None:
    requests = [("embed" if n % 2 else "write", (), [n, -n]) for n in range(20)]
    answers, batches = through(8, 100, requests)
    assert answers == [items for _, _, items in requests]
    assert [len(items) for _, _, items in batches] == [8, 8, 8, 8, 4, 4]
    assert all(len({abs(item) % 2 for item in items}) == 1 for _, _, items in batches)


def test_what_draws_from_a_seed_goes_alone() -> None:
    _, batches = through(8, 100, [("draw", (), ["a"], False)] * 3)
    assert [items for _, _, items in batches] == [["a"]] * 3


def test_a_full_queue_refuses_and_takes_again() -> None:
    answers, batches = through(2, 4, [("embed", (), [n]) for n in range(6)])
    assert answers[:4] == [[0], [1], [2], [3]]
    assert all(isinstance(answer, FullError) for answer in answers[4:])
    assert len(batches) == 2


def test_a_batch_that_is_lost_is_told_to_its_own_alone() -> None:
    answers, _ = through(2, 9, [("embed", (), [item]) for item in ("fatal", 1, 2)])
    assert [isinstance(answer, LostError) for answer in answers] == [True, True, False]


def test_who_waits_no_longer_takes_no_place() -> None:
    async def run() -> list:
        echo = Echo()
        queue = Queue(echo, 8, 8)
        first = asyncio.create_task(queue.ask("embed", (), [1]))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        task = asyncio.create_task(queue.run())
        answers = [await queue.ask("embed", (), [2] * 8)]
        task.cancel()
        return [*answers, echo.batches]

    answers, batches = asyncio.run(run())
    assert answers == [2] * 8
    assert [items for _, _, items in batches] == [[2] * 8]


def test_batched_is_single(service: Service) -> None:
    texts = ["a", "a longer text than that", "red circle"] * 10
    whole = service.client.post("/v1/embeddings", json={"input": texts}).json()["data"]
    for text, told in zip(texts[:3], whole, strict=False):
        alone = service.client.post("/v1/embeddings", json={"input": text}).json()["data"][0]
        assert np.abs(np.subtract(alone["embedding"], told["embedding"])).max() < 1e-5


def test_health_is_told_while_the_model_works(service: Service) -> None:
    async def both() -> float:
        body = json.dumps({"input": ["a"] * 128}).encode()
        work = [asyncio.create_task(ask(service.port, body)) for _ in range(2)]
        await asyncio.sleep(0.01)
        begin = time.monotonic()
        answer = await asyncio.to_thread(service.client.get, "/healthz")
        assert answer.status_code == 200
        took = time.monotonic() - begin
        assert not all(task.done() for task in work)
        await asyncio.gather(*work)
        return took

    assert asyncio.run(both()) < 5
