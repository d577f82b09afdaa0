"""Two replicas of Ray Serve answer as the model does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from omni.interface import Omni
from tests.serve.conftest import free_port

ray = pytest.importorskip("ray", reason="needs ray[serve]")
serve = pytest.importorskip("ray.serve", reason="needs ray[serve]")
from omni.serve import cluster  # noqa: E402


@pytest.fixture(scope="module")
def url(tiny_run: Path, index: Path) -> Iterator[str]:
    port = free_port()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    told = {"model": f"tiny={tiny_run}", "index": str(index), "replicas": "2"}
    serve.run(cluster.deploy(told), name="omni")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


def test_all_answers_are_those_of_the_model(url: str, tiny_model: Omni) -> None:
    words = ["red circle", "blue square", "green star"] * 8

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            asked = [
                client.post("/v1/embeddings", json={"model": "tiny", "input": w}) for w in words
            ]
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} == {200}
    found = np.array([answer.json()["data"][0]["embedding"] for answer in answers])
    assert np.allclose(found, tiny_model.embed(words).numpy(), atol=1e-5)
    (hit, *_) = httpx.post(f"{url}/v1/search", json={"text": "red circle", "k": 3}).json()["hits"]
    assert hit


def test_what_the_gate_refuses_is_refused(url: str) -> None:
    deep = {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}
    assert httpx.post(f"{url}/v1/embeddings", **deep).status_code == 400
    assert httpx.get(f"{url}/v1/jobs").status_code == 404
    assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"replicas": "0"}, "replicas must be at least 1, got 0"),
        ({"replicas": "two"}, "replicas must be at least 1, got two"),
        ({"model": "nowhere"}, "nowhere"),
        ({"batch": "many"}, "--batch"),
        ({"port": "80", "colour": "red"}, r"got \['colour', 'port'\]"),
    ],
)
def test_what_cannot_be_deployed_is_named(told: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cluster.deploy(told)
