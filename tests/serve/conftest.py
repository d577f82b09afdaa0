"""One service in a thread of this process, for all that asks it over HTTP."""

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI

from omni.interface import Omni
from omni.items import to_picture
from omni.pipeline.synthetic import make_samples
from omni.pretrained import digest
from omni.preview import write_preview
from omni.search.index import Index
from omni.search.reading import embed, look
from omni.serve.address import bind
from omni.serve.app import create
from omni.serve.server import live
from omni.serve.settings import Settings
from omni.training.manifest import folder_name
from tests.serve.audit import watch, watched


@dataclass
class Service:
    """A service that runs."""

    app: FastAPI
    port: int
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(app: FastAPI) -> Iterator[Service]:
    """A service from its first answer to its last."""
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    thread = threading.Thread(target=lambda: asyncio.run(live(app, listening, "http://x/")))
    thread.start()
    limits = httpx.Limits(max_keepalive_connections=0)  # none is cut while it idles
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as client:
        while thread.is_alive() and not getattr(getattr(app.state, "server", 0), "started", 0):
            time.sleep(0.02)
        assert thread.is_alive()
        yield Service(app, port, client)
    app.state.server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four things that have a picture, a recording and a name."""
    made = tmp_path_factory.mktemp("things")
    complete = (s for s in make_samples("test", 40) if None not in (s.image, s.audio, s.text))
    for number, sample in enumerate(islice(complete, 4)):
        stem = made / f"thing-{number}"
        to_picture(sample.image).save(stem.with_suffix(".png"))
        sound = sample.audio.numpy().astype(np.float32) / 32768
        soundfile.write(stem.with_suffix(".wav"), sound, 16_000)
        stem.with_suffix(".txt").write_text(sample.text)
    return made


@pytest.fixture(scope="session")
def index(
    tiny_run: Path, tiny_model: Omni, things: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of the things."""
    folder = tmp_path_factory.mktemp("index") / "things"
    made = Index.create(folder, tiny_model.config.model.embed_dim, digest(tiny_run))
    made.add(embed(tiny_model, look(things, [])))
    made.close()
    return folder


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the processes of `service` open, connect to and start, a line each."""
    return tmp_path_factory.mktemp("audit") / "log"


@pytest.fixture(scope="session")
def service(
    tiny_run: Path, tiny_model: Omni, index: Path, things: Path, log: Path
) -> Iterator[Service]:
    """Of the tiny run and the index, without a key; all of it is watched but this thread."""
    complete = (s for s in make_samples("test", 40) if None not in (s.image, s.audio, s.text))
    write_preview(tiny_model, [*islice(complete, 2)], tiny_run / "preview" / folder_name(150))
    models = {"tiny": str(tiny_run)}
    app = create(Settings(models, index, things, runs=tiny_run.parent, jobs=1, seconds=20))
    watch(log, all_threads=False)
    for process in (app.state.engines["tiny"].process, *app.state.decoders._all):
        process.target = partial(watched, log, process.target)
    yield from run(app)


@pytest.fixture(scope="session")
def png(things: Path) -> str:
    """A picture as a data URI."""
    return uri("image/png", (things / "thing-0.png").read_bytes())


@pytest.fixture(scope="session")
def wav(things: Path) -> str:
    """A recording as a data URI."""
    return uri("audio/wav", (things / "thing-0.wav").read_bytes())


def uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
