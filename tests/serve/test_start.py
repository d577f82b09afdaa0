"""How a service begins: its address first, then its models, then its index."""

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from omni.serve import command, indexing
from omni.serve.address import bind, page
from omni.serve.app import create
from omni.serve.indexing import describe
from omni.serve.server import live
from omni.serve.settings import Settings
from tests.serve.conftest import Service, run

ROOT = Path(__file__).parents[2]


def read(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([*map(str, words)])


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(
    tiny_run: Path, things: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.serve.server.serve", lambda *_: pytest.fail("a model is loaded"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = "--model", f"tiny={tiny_run}", "--index", things, "--port", port
        with pytest.raises(ValueError, match=rf"cannot listen at .* --port {port}: .*in use"):
            command.run(read(*words))
    assert not (tiny_run / "indexes").exists()


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", 70_000, "--port must be 0 ... 65535, got 70000"),
        ("127.0.0.1", -1, "--port must be"),
        ("no such host", 0, "cannot listen at --host no such host"),
        ("192.0.2.1", 0, "cannot listen at --host 192.0.2.1"),
    ],
)
def test_where_nobody_can_listen_is_refused(host: str, port: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bind(host, port)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "localhost"),
        ("::", "localhost"),
        ("::1", "[::1]"),
    ],
)
def test_the_address_is_one_that_a_browser_opens(host: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert page(listening, host) == f"http://{name}:{port}/"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("index build: 400 of 1,000, 0:00:10", "indexing, 40 %"),
        ("index build: 1,109 of 1,109, 0:01:10", "indexing, 100 %"),
        ("things/a.png: cannot be decoded", ""),
    ],
)
def test_progress_is_read_from_the_lines_of_the_command(line: str, state: str) -> None:
    assert describe(line) == state


@pytest.fixture
def indexing_service(
    tiny_run: Path, things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """One that makes its index, which goes on when there is a file `go`."""
    build = indexing.command
    wait = 'echo "index build: 2 of 5, 0:00:10" >&2; until [ -e "$0" ]; do sleep 0.05; done; "$@"'

    def slow(settings: Settings) -> list[str]:
        return ["sh", "-c", wait, str(tmp_path / "go"), *build(settings)]

    monkeypatch.setattr(indexing, "command", slow)
    monkeypatch.chdir(ROOT)
    models = {"tiny": str(tiny_run)}
    yield from run(create(Settings(models, tmp_path / "index", things, source=things)))


def test_models_answer_while_the_index_is_made(
    indexing_service: Service, things: Path, tmp_path: Path
) -> None:
    client = indexing_service.client
    while client.get("/readyz").json()["index"] == "indexing":
        time.sleep(0.02)
    assert client.get("/readyz").json() == {"models": {"tiny": "ready"}, "index": "indexing, 40 %"}
    assert client.get("/readyz").status_code == 503
    assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
    query = {"text": "red circle", "k": 4}
    for answer in (
        client.post("/v1/search", json=query),
        client.post("/v1/index", json={"name": "a", "text": "a"}),
        client.delete("/v1/index/1"),
        client.get("/v1/items/1/image"),
    ):
        assert answer.status_code == 503 and answer.headers["retry-after"] == "10"
        assert answer.json()["error"]["message"] == "indexing, 40 %"
    (tmp_path / "go").touch()
    while client.get("/readyz").status_code != 200:
        time.sleep(0.1)
    hits = client.post("/v1/search", json=query).json()["hits"]
    assert sorted(hit["name"] for hit in hits) == [f"thing-{n}" for n in range(4)]
    assert client.get(f"/v1/items/{hits[0]['id']}/image").status_code == 200


def serve_alone(settings: Settings) -> None:
    with bind("127.0.0.1", 0) as listening:
        asyncio.run(asyncio.wait_for(live(create(settings), listening, "http://x/"), 3))


def test_a_service_whose_index_cannot_be_made_ends_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sh", "-c", "echo 'omni index: it holds nothing' >&2; exit 2"]
    monkeypatch.setattr(indexing, "command", lambda settings: words)
    settings = Settings({}, tmp_path / "index", source=tmp_path)
    with pytest.raises(ValueError, match=r"no index could be made of .*: it holds nothing"):
        serve_alone(settings)


def test_a_service_that_ends_ends_the_making_of_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'trap "echo cleared > ended; exit 130" INT; echo $$ > pid; while :; do sleep 0.05; done'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(indexing, "command", lambda settings: ["sh", "-c", script])
    with pytest.raises(TimeoutError):
        serve_alone(Settings({}, tmp_path / "index", source=tmp_path))
    assert (tmp_path / "ended").read_text() == "cleared\n"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_while_the_index_is_made_is_one_line_and_leaves_none(
    tiny_run: Path, things: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        source = next(tiny_run.glob(f"checkpoints/step-*/{name}"))
        (folder / name).write_bytes(source.read_bytes())
    words = "--model", f"tiny={folder}", "--index", things, "--port", 0, "--jobs", 0
    with subprocess.Popen(
        [sys.executable, "-m", "omni", "serve", *map(str, words)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while not (line := process.stderr.readline()).startswith("http://127.0.0.1:"):
            assert line, "it ended"
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.splitlines()[-1:] == ["omni: interrupted"] and "Traceback" not in said
    for _ in range(500):  # the server of forks ends by itself when nobody needs it any more
        if not any(map(lives, children)):
            break
        time.sleep(0.02)
    assert not [child for child in children if lives(child)]
    assert not [*(folder / "indexes").glob("*/*")]
