"""What a service bears: requests a second, a thousand at once, and clients that mean harm.

Clients and service share this machine. Each goal is printed beside what was measured.
"""

import asyncio
import resource
import time
from collections import Counter

import numpy as np

from omni.bench import harm
from omni.bench.client import Answer, keep_asking, once, percentiles
from omni.bench.service import Service, Watch
from omni.interface import Omni, load
from omni.progress import track

PATH = "/v1/embeddings"
BATCH = 32
CLIENTS = 64
REQUESTS = 2048
AT_ONCE = 1000
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "grey", "orange")
SHAPES = ("circle", "square", "triangle", "star")


def run(model: str) -> None:
    """Prints every figure. Raises `ValueError` for a model that cannot be loaded."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    offline, rates = load(model, "cpu"), {}
    for batch in track((1, BATCH), "requests a second"):
        with Service(model, batch) as service:
            rates[batch] = _throughput(service, batch)
    print(f"{'batched / unbatched':40s} {rates[BATCH] / rates[1]:8.2f}   (goal: 3 or more)")
    with Service(model, BATCH) as service:
        asyncio.run(_crowd(service, offline))
        for fault in track(harm.FAULTS, "faults"):
            print(asyncio.run(fault(service)))


def texts(count: int) -> list[str]:
    """Short descriptions, in turn."""
    made = [f"a {colour} {shape}" for shape in SHAPES for colour in COLOURS]
    return [made[number % len(made)] for number in range(count)]


def _throughput(service: Service, batch: int) -> float:
    """Requests a second of one text each; prints them and the percentiles of their times."""
    bodies = [{"input": text} for text in texts(REQUESTS)]
    asyncio.run(keep_asking(service.port, PATH, bodies[:256], CLIENTS))  # for warmth
    begin = time.perf_counter()
    answers = asyncio.run(keep_asking(service.port, PATH, bodies, CLIENTS))
    rate = len(answers) / (time.perf_counter() - begin)
    wrong = sum(answer.status != 200 for answer in answers)
    print(f"batch of {batch}: {rate:.0f} requests/s of {CLIENTS} clients, {wrong} not answered")
    print(f"  {percentiles(answers)}")
    return rate


async def _crowd(service: Service, offline: Omni) -> None:
    """A thousand requests at the same time, and /healthz meanwhile; every answer is looked at."""
    asked, health = texts(AT_ONCE), []
    expected = dict(zip(asked, offline.embed(asked).numpy(), strict=True))

    async def look() -> None:
        while True:
            health.append(await once(service.port, "/healthz"))
            await asyncio.sleep(0.01)

    with Watch(service) as watch:
        looking, begin = asyncio.create_task(look()), time.perf_counter()
        requests = (once(service.port, PATH, {"input": text}) for text in asked)
        answers = await asyncio.gather(*requests, return_exceptions=True)
        seconds = time.perf_counter() - begin
        looking.cancel()
    statuses = Counter(a.status if isinstance(a, Answer) else "cut off" for a in answers)
    worst = 0.0
    for text, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Answer) and answer.status == 200:
            vector = answer.json["data"][0]["embedding"]
            worst = max(worst, float(np.abs(vector - expected[text]).max()))
    told = ", ".join(f"{count} x {status}" for status, count in statuses.items())
    print(f"{AT_ONCE} at once, in {seconds:.1f} s: {told} (goal: 200 and 429 alone)")
    print(f"  furthest from offline {worst:.1e} (goal: 1e-5)")
    print(f"  memory + {watch.growth / 2**20:.0f} MiB (goal: 50)")
    print(f"  /healthz {percentiles(health)} (goal: p99 of 1000 ms)")
