"""Whatever is sent, the answer is 4xx, or 200 where it is valid after all; and nothing else."""

import base64
import json
import random
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

import omni
from omni.serve import connection, gate
from tests.pipeline.hostile import claim, png, recording, wav
from tests.serve.conftest import Service, uri

JSON = {"content-type": "application/json"}
SILENCE = np.zeros(32_000, np.int16)
PUT = "/v1/embeddings"
OWN = str(Path(omni.__file__).parent)


def item(name: str, value: object) -> bytes:
    return json.dumps({"input": {name: value}}).encode()


def search(**fields: object) -> bytes:
    return json.dumps({"text": "a"} | fields).encode()


WRONG = {
    "nothing": (PUT, b""),
    "no JSON": (PUT, b"{"),
    "more after it": (PUT, b'{"input": "a"} x'),
    "deep": (PUT, b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "deep objects": (PUT, b'{"input": ' + b'{"a":' * 100_000),
    "no number": (PUT, b'{"input": "a", "dimensions": NaN}'),
    "infinity": (PUT, b'{"input": "a", "dimensions": -Infinity}'),
    "a float too large": ("/v1/search", b'{"text": "a", "where": {"x": 1e999}}'),
    "an integer too long": (PUT, b'{"input": "a", "dimensions": ' + b"1" * 1_000_000 + b"}"),
    "half a surrogate pair": (PUT, b'{"input": "\\ud800"}'),
    "no UTF-8": (PUT, b'{"input": "\xff"}'),
    "a zero byte": (PUT, b'{"input": "\\u0000"}'),
    "a list": (PUT, b"[]"),
    "null": (PUT, b"null"),
    "a field of nobody's": (PUT, b'{"input": "a", "path": "/etc/passwd"}'),
    "no input": (PUT, b"{}"),
    "empty input": (PUT, b'{"input": ""}'),
    "empty list": (PUT, b'{"input": []}'),
    "numbers": (PUT, b'{"input": [1, 2]}'),
    "token ids": (PUT, b'{"input": [[1, 2]]}'),
    "too many": (PUT, json.dumps({"input": ["a"] * 2049}).encode()),
    "too long": (PUT, json.dumps({"input": "a" * 8193}).encode()),
    "another width": (PUT, b'{"input": "a", "dimensions": 7}'),
    "an unknown model": (PUT, b'{"input": "a", "model": "/etc"}'),
    "an item of nothing": (PUT, b'{"input": {}}'),
    "an address": (PUT, item("image", "http://169.254.169.254/latest")),
    "an address of a recording": (PUT, item("audio", "https://example.org/a.wav")),
    "a file": (PUT, item("image", "file:///etc/passwd")),
    "a path": (PUT, item("image", "../../etc/passwd")),
    "a device": (PUT, item("image", "/proc/self/environ")),
    "an empty data URI": (PUT, item("image", "data:")),
    "a data URI of text": (PUT, item("image", "data:text/html;base64,YQ==")),
    "a data URI without base64": (PUT, item("image", "data:image/png,abc")),
    "no base64": (PUT, item("image", "data:image/png;base64,!!!")),
    "base64 beyond ASCII": (PUT, item("image", "data:image/png;base64,ä")),
    "no picture": (PUT, item("image", uri("image/png", b"GIF89a"))),
    "an empty picture": (PUT, item("image", uri("image/png", b""))),
    "a recording as a picture": (PUT, item("image", uri("image/png", wav(bytes(99))))),
    "a giant picture": (PUT, item("image", uri("image/png", png(2**31 - 1, 9, 8, 2, b"")))),
    "a cut picture": (PUT, item("image", uri("image/png", png(9, 9, 8, 2, bytes(252))[:-20]))),
    "no recording": (PUT, item("audio", uri("audio/wav", b"RIFF"))),
    "a recording that claims more": (PUT, item("audio", uri("audio/wav", wav(b"", size=2**30)))),
    "an odd rate": (PUT, item("audio", uri("audio/wav", wav(bytes(2000), rate=191_999)))),
    "no samples": (PUT, item("audio", uri("audio/wav", wav(b"")))),
    "nobody asks": ("/v1/search", b"{}"),
    "k of 0": ("/v1/search", search(k=0)),
    "k of a million": ("/v1/search", search(k=10**6)),
    "k as a float": ("/v1/search", search(k=1.5)),
    "an unknown sense": ("/v1/search", search(senses=["smell"])),
    "nested metadata": ("/v1/search", search(where={"a": {"b": 1}})),
    "SQL in metadata": ("/v1/search", search(where={'a" or 1=1 --': 1})),
    "re-ranking of a million": ("/v1/search", search(rerank=10**6)),
    "no name": ("/v1/index", b'{"text": "a"}'),
    "a name of control characters": ("/v1/index", b'{"name": "a\\n", "text": "a"}'),
    "nothing to draw": ("/v1/images/generations", b'{"prompt": ""}'),
    "a hundred pictures": ("/v1/images/generations", b'{"prompt": "a", "n": 100}'),
    "an address for an answer": (
        "/v1/images/generations",
        b'{"prompt": "a", "response_format": "url"}',
    ),
    "steps without end": ("/v1/images/generations", b'{"prompt": "a", "steps": 1000000}'),
    "an unknown format": ("/v1/audio/speech", b'{"input": "a", "response_format": "exe"}'),
    "no messages": ("/v1/chat/completions", b'{"messages": []}'),
    "the last word is not the user's": (
        "/v1/chat/completions",
        b'{"messages": [{"role": "assistant", "content": "a"}]}',
    ),
    "a picture by address": (
        "/v1/chat/completions",
        b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url":'
        b' {"url": "http://127.0.0.1/"}}]}]}',
    ),
    "an unknown language": (
        "/v1/chat/completions",
        b'{"messages": [{"role": "user", "content": "a"}], "language": "xx"}',
    ),
}


@pytest.fixture
def seen(log: Path, index: Path) -> Callable[[], list[str]]:
    """What the service has opened, connected to or started in this test.

    But for libraries, of which parts are imported late, our own code, of which FastAPI reads a
    line when it tells of a fault, and the index.
    """
    begin = log.stat().st_size
    known = (OWN, sys.prefix, sys.base_prefix, str(index))
    allowed = tuple(f"open {folder}/" for folder in known)

    def look() -> list[str]:
        lines = log.read_bytes()[begin:].decode().splitlines()
        return [line for line in lines if not line.startswith(allowed)]

    return look


def check(answer, allowed: tuple[int, ...] = ()) -> None:
    """A refusal in the shape of errors, which tells of nothing inside."""
    assert 400 <= answer.status_code < 500 or answer.status_code in allowed, answer.text
    if answer.status_code >= 400:
        assert {"message", "type", "code"} == answer.json()["error"].keys()
        assert not [word for word in ("Traceback", "/tmp", "/root", "site-packages", ".py")
                    if word in answer.text]  # fmt: skip


def test_what_is_opened_would_be_seen(service: Service, things: Path, seen: Callable) -> None:
    """By the process that listens, and by that of the model."""
    service.client.get("/v1/items/1/image")
    assert f"open {things / 'thing-0.png'}" in seen()
    before = len(seen())
    service.client.post("/v1/search", json={"text": "a", "senses": ["image"], "rerank": 1})
    assert [line for line in seen()[before:] if line.startswith(f"open {things}")]


@pytest.mark.parametrize("kind", WRONG)
def test_a_request_that_is_wrong_is_refused(service: Service, kind: str, seen: Callable) -> None:
    path, body = WRONG[kind]
    check(service.client.post(path, content=body, headers=JSON))
    assert seen() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/embeddings", 405),
        ("PUT", "/v1/search", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/models/%2e%2e%2fetc", 404),
        ("GET", "/v1/items/../../etc/passwd", 404),
        ("GET", "/v1/items/x/image", 422),
        ("GET", "/v1/items/-1/image", 422),
        ("GET", f"/v1/items/{10**30}/image", 404),
        ("GET", "/v1/items/1/smell", 422),
        ("DELETE", "/v1/index/999999", 404),
    ],
)
def test_a_route_that_is_none_is_refused(service, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path)
    check(answer)
    assert answer.status_code == status


def test_what_is_no_json_or_no_form_is_refused(service: Service, seen: Callable) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = service.client.post(PUT, content=b'{"input":"a"}', headers={"content-type": kind})
        check(answer)
        assert answer.status_code == 415
    path, form = "/v1/audio/transcriptions", {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\nno file\r\n--x--\r\n'
    many = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n' * 2000 + b"--x--\r\n"
    for body in (b"", b"--x", part, many, b"--x\r\n\r\n--x--", part.replace(b"file", b"f" * 9999)):
        check(service.client.post(path, content=body, headers=form))
    check(
        service.client.post(path, content=b"--x", headers={"content-type": "multipart/form-data"})
    )
    files = {"file": ("../../etc/passwd", b"no recording")}
    check(service.client.post(path, files=files))
    check(service.client.post(path, files={"file": ("a.wav", wav(bytes(9000)))}, data={"x": "y"}))
    assert seen() == []


def test_mutations_of_what_is_right_are_refused_or_answered(
    service: Service, things: Path, seen: Callable
) -> None:
    """500 of them: bytes changed, cut out and doubled, of small bodies of each kind."""
    draw = random.Random(0)
    small = base64.b64encode(png(2, 2, 8, 2, bytes(14))).decode()
    told = {"role": "user", "content": [{"type": "text", "text": "what?"}]}
    right = [
        (PUT, {"input": ["red", {"image": f"data:image/png;base64,{small}"}]}),
        ("/v1/search", {"text": "red", "k": 2, "senses": ["image"], "where": {"a": 1}}),
        ("/v1/chat/completions", {"messages": [told], "stream": False}),
        (PUT, {"input": {"audio": uri("audio/wav", wav(bytes(300)))}, "encoding_format": "float"}),
    ]
    for path, body in right:
        assert service.client.post(path, json=body).status_code == 200
    statuses = []
    for number in range(500):
        path, body = right[number % len(right)]
        data = bytearray(json.dumps(body).encode())
        for _ in range(draw.randint(1, 3)):
            at, length = draw.randrange(len(data)), draw.randint(1, 8)
            how = draw.randrange(3)
            new = (draw.randbytes(length), b"", bytes(data[at : at + length]) * 2)[how]
            data[at : at + length] = new
        answer = service.client.post(path, content=bytes(data), headers=JSON)
        check(answer, allowed=(200,))
        statuses.append(answer.status_code)
    assert seen() == []
    assert len({*statuses}) > 2  # not all of them for one reason
    assert service.client.get("/readyz").status_code == 200


def memory() -> int:
    """Bytes of this process, of those that decode and of that of the model."""
    total = psutil.Process().memory_info().rss
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += child.memory_info().rss
    return total


def test_bombs_are_refused_in_little_memory(service: Service) -> None:
    bombs = [
        ("image", png(13_000, 13_000, 1, 0, bytes(13_000 * 1626))),
        ("image", png(4900, 4900, 8, 2, bytes(4900 * 14_701))),
        ("audio", claim(recording(SILENCE, "FLAC", "PCM_16"), 2**36 - 1)),
        ("audio", recording(np.zeros((2_000_000, 8), np.int16), "FLAC", "PCM_16")),
        ("audio", recording(np.zeros(8_000 * 121, np.int16), "FLAC", "PCM_16", 8_000)),
    ]
    bodies = [item(sense, uri(f"{sense}/{'png' if sense == 'image' else 'flac'}", data))
              for sense, data in bombs]  # fmt: skip
    before, peak, done = memory(), 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, memory())

    answers: list = []

    def send(body: bytes) -> None:
        answers.append(service.client.post(PUT, content=body, headers=JSON))

    threads = [threading.Thread(target=send, args=(body,)) for body in (bodies * 2)[:8]]
    watch = threading.Thread(target=look)
    for thread in (watch, *threads):
        thread.start()
    assert service.client.get("/healthz").status_code == 200
    for thread in threads:
        thread.join()
    done.set()
    watch.join()
    assert [answer.status_code for answer in answers] == [422] * 8
    print(f"{(peak - before) / 2**20:.0f} MiB")
    assert peak - before < 300 << 20
    assert service.client.post(PUT, json={"input": "a"}).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(service: Service) -> None:
    for head in (b"content-length: 9000000", b"transfer-encoding: chunked"):
        with service.connect() as link:
            start = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n"
            link.sendall(start + head + b"\r\n\r\n")
            if b"chunked" in head:
                link.sendall((b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n") * 8)
                link.sendall(b"1\r\n0\r\n")
            assert link.recv(99).startswith(b"HTTP/1.1 413")


def test_headers_that_are_wrong_are_refused(service: Service) -> None:
    search = b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\n"
    lines = (
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without a host
        search + b"content-length: -1\r\n\r\n",
        search + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * (17 << 10),
        bytes(2000) + b"\r\n\r\n",
    )
    for line in lines:
        with service.connect() as link:
            link.sendall(line)
            assert link.recv(99).startswith(b"HTTP/1.1 4"), line


def test_slow_connections_are_closed_while_others_are_served(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.5)
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n"
    half = head + b"content-type: application/json\r\ncontent-length: 20\r\n\r\n{"
    fds = psutil.Process().num_fds()
    links: list[socket.socket] = []
    for number in range(300):
        links.append(service.connect())
        links[-1].sendall((b"", head, half)[number % 3])
    assert service.client.post(PUT, json={"input": "a"}).status_code == 200
    for number, link in enumerate(links):
        told = b""
        try:
            while got := link.recv(999):
                told += got
        except ConnectionResetError:
            pass  # closed, too
        assert told.startswith(b"HTTP/1.1 408") == (number % 3 == 2)
        link.close()
    assert psutil.Process().num_fds() <= fds + 2


def test_one_who_leaves_in_the_middle_harms_nobody(service: Service) -> None:
    body = json.dumps({"prompt": "a", "steps": 50}).encode()
    head = b"POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\n"
    head += b"content-type: application/json\r\n"
    for sent in (head, head + b"content-length: %d\r\n\r\n" % len(body) + body):
        with service.connect() as link:
            link.sendall(sent)
    assert service.client.post(PUT, json={"input": "a"}).status_code == 200
    assert service.app.state.engines["tiny"].queue.count == 0
