"""What `omni bench serve` does to a service in processes of its own, and what it says of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from omni.bench import harm, serve
from omni.bench.service import Service
from omni.interface import Omni


@pytest.fixture(scope="module")
def service(tiny_run: Path) -> Iterator[Service]:
    """That all of these ask, and the last of them ends."""
    with Service(str(tiny_run), 32) as service:
        yield service


def test_requests_a_second_are_counted(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "REQUESTS", 64)
    assert serve._throughput(service, 32) > 0
    told = capsys.readouterr().out
    assert "batch of 32" in told and "0 not answered" in told and "p99" in told


def test_a_crowd_is_answered_as_offline(
    service: Service,
    tiny_model: Omni,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(serve, "AT_ONCE", 100)
    asyncio.run(serve._crowd(service, tiny_model))
    told = capsys.readouterr().out
    assert ": 100 x 200 (goal" in told
    assert float(told.split("furthest from offline ")[1].split()[0]) < 1e-5


def test_slow_connections_do_not_last(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harm, "SLOW", 3)
    told = asyncio.run(harm.stall(service)).splitlines()
    seconds = [float(line.split("within ")[1].split()[0]) for line in told[::2]]
    assert 4 < seconds[0] < seconds[1]
    assert all("got {200}" in line for line in told[1::2])


def test_bombs_are_answered(service: Service) -> None:
    assert "8 bombs at once: {422: 4, 200: 4}" in asyncio.run(harm.bomb(service))


def test_a_killed_model_is_replaced(service: Service) -> None:
    assert "its request got 503, the next 200 after" in asyncio.run(harm.kill(service))


def test_sigterm_ends_the_service_once_what_was_asked_is_answered(service: Service) -> None:
    """With 0, and no process of it is left."""
    processes = service.processes
    assert len(processes) >= 5  # of HTTP, the server of forks, two that decode, and a model
    told = asyncio.run(harm.terminate(service))
    assert "over 64 requests: {200: 64}, exit code 0, 0 processes left" in told


def test_a_model_that_is_none_is_told_of() -> None:
    with pytest.raises(ValueError, match="no/such/run"):
        serve.run("no/such/run")
