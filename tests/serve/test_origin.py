"""Only those who call the service by one of its names, and its own page, are let in."""

import argparse
import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from omni.serve import command, hosts
from omni.serve.gate import Gate
from omni.serve.metrics import Metrics
from omni.serve.settings import Settings
from tests.serve.conftest import Service

OWN = "127.0.0.1:8000"
ROUTES = ("/v1/models", "/v1/jobs", "/metrics", "/healthz", "/readyz", "/docs", "/", "/no/such")


def status(
    headers: list[tuple[str, str]],
    allowed: frozenset[str] | None = hosts.LOCAL,
    path: str = "/v1/models",
    method: str = "GET",
) -> int:
    """What a gate before nothing answers."""
    settings = Settings({}, hosts=allowed)
    gate = Gate(PlainTextResponse("in"), settings, Metrics())
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "state": {}}
    statuses: list[int] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    asyncio.run(gate(scope, receive, send))
    return statuses[0]


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost:8000", "localhost.:8000", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:",
        "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]:8000",
    ],
)  # fmt: skip
def test_names_of_this_machine_are_served(host: str) -> None:
    assert status([("Host", host)]) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example",
        "evil-localhost", "localhost@evil.example", "evil.example#localhost",
        "localhost,evil.example", "localhost evil.example", "127.0.0.1:8000:8000",
        "127.0.0.1:x", "::1", "[::1", "[::1]x",
        "[evil]", "", ".", ":8000", "localhost..", "127.1", "2130706433", "10.0.0.5", "0.0.0.0",
        "http://localhost", "localhost/", "lo\xe7alhost", "a" * 9000,
    ],
)  # fmt: skip
def test_every_other_host_is_refused_on_every_route(host: str) -> None:
    for route in ROUTES:
        assert status([("Host", host)], path=route) == 403


def test_a_request_has_one_host_and_names_a_path() -> None:
    assert status([]) == 400
    assert status([("Host", OWN), ("Host", OWN)]) == 400
    assert status([("Host", OWN), ("Host", "evil.example")]) == 400
    assert status([("Host", OWN)], path="http://evil.example/v1/models") == 400
    assert status([("Host", OWN)], path="*", method="OPTIONS") == 400


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host"])
def test_what_a_proxy_says_it_was_asked_for_does_not_count(header: str) -> None:
    assert status([("Host", "evil.example"), (header, "localhost")]) == 403
    assert status([("Host", "localhost"), (header, "evil.example")]) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8000", 200),
        ("https://127.0.0.1:8000", 200),  # a proxy speaks TLS
        ("HTTP://127.0.0.1:8000", 200),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8000", 403),
        ("http://evil.example", 403),
        ("http://evil.example:8000", 403),
        ("http://127.0.0.1:8000.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("chrome-extension://abcdef", 403),
        ("127.0.0.1:8000", 403),
    ],
)
def test_pages_of_its_own_origin_alone_may_ask(origin: str, expected: int) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert status([("Host", OWN), ("Origin", origin)], method=method) == expected


def test_an_origin_without_a_port_is_one_with_the_port_of_its_scheme() -> None:
    allowed = frozenset({"omni.example"})
    for host, origin in (
        ("omni.example", "https://omni.example"),
        ("omni.example:443", "https://omni.example"),
        ("omni.example", "http://omni.example:80"),
    ):
        assert status([("Host", host), ("Origin", origin)], allowed) == 200
    other = [("Host", "omni.example:8000"), ("Origin", "http://omni.example")]
    assert status(other, allowed) == 403


@pytest.mark.parametrize(
    ("site", "mode", "target", "method", "expected"),
    [
        ("same-origin", "cors", "empty", "POST", 200),
        ("none", "navigate", "document", "GET", 200),
        ("cross-site", "navigate", "document", "GET", 200),  # a link to the page
        ("cross-site", "navigate", "iframe", "GET", 403),
        ("cross-site", "navigate", "document", "POST", 403),
        ("cross-site", "no-cors", "image", "GET", 403),
        ("same-site", "no-cors", "script", "GET", 403),
        ("SAME-SITE", "cors", "empty", "GET", 403),
    ],
)
def test_a_browser_says_for_whom_it_asks(
    site: str, mode: str, target: str, method: str, expected: int
) -> None:
    told = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", target)]
    assert status([("Host", OWN), *told], method=method) == expected


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([*words])


def test_further_names_are_given_and_a_key_stands_for_any() -> None:
    assert command._hosts(arguments()) == hosts.LOCAL
    assert command._hosts(arguments("--host", "127.0.0.2")) == hosts.LOCAL | {"127.0.0.2"}
    given = arguments("--allow-host", "Omni.Example.", "FE80:0::1", "[::2]", "10.0.0.5")
    further = {"omni.example", "fe80::1", "::2", "10.0.0.5"}
    assert command._hosts(given) == hosts.LOCAL | further
    assert command._hosts(arguments("--key", "keys")) is None
    both = command._hosts(arguments("--key", "keys", "--host", "0.0.0.0", "--allow-host", "a"))
    assert both == hosts.LOCAL | {"0.0.0.0", "a"}
    assert status([("Host", "10.0.0.5"), ("Origin", "http://evil.example")], None) == 200
    assert status([("Host", "omni.example:80")], command._hosts(given)) == 200


@pytest.mark.parametrize("name", ["http://a", "a:80", "a/b", "", "[::1]:80", "*", "a b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="--allow-host must be a name or an address alone"):
        hosts.names([name])


def test_the_service_itself_holds_this(service: Service) -> None:
    def ask(**headers: str) -> httpx.Response:
        return service.client.get("/v1/jobs", headers=headers)

    assert ask().status_code == 200
    assert ask(host=f"localhost:{service.port}").status_code == 200
    refused = ask(host="evil.example")
    assert refused.status_code == 403 and "--allow-host" in refused.json()["error"]["message"]
    assert ask(origin="http://evil.example").status_code == 403
    assert ask(origin=service.url).status_code == 200
    for line in (
        b"GET /v1/jobs HTTP/1.0\r\n",
        b"GET http://evil.example/v1/jobs HTTP/1.1\r\nhost: localhost\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n",
    ):
        with service.connect() as link:
            link.sendall(line + b"\r\n")
            assert link.recv(99).startswith(b"HTTP/1.1 40")
