"""Refuses what web pages of others ask, by the host that a request names and the page it is from.

A web page can have its own name point to this machine (DNS rebinding, as in CVE-2024-28224): the
browser then counts the service as part of that page's origin. The Host header still says the name.
"""

from starlette.exceptions import HTTPException
from starlette.types import Scope

from omni.serve.hosts import parse

PORTS = {"http": 80, "https": 443}
"""that a host without a port means"""
HERE = ("same-origin", "none")
"""values of Sec-Fetch-Site that a browser sends for a page of ours, and for what is typed"""


def check(scope: Scope, allowed: frozenset[str] | None) -> None:
    """Raise `HTTPException` for a request to another host, or of a page of another origin.

    `allowed` are the names that the service answers to, all where it is None. What a proxy says
    it was asked for (X-Forwarded-Host, Forwarded) does not count: any client can write it.
    """
    if not scope["path"].startswith("/"):
        raise HTTPException(400, "a request must name a path, not a whole address")
    if allowed is None:
        return
    headers: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name, []).append(value.decode("latin-1").strip())
    hosts = headers.get(b"host", [])
    if len(hosts) != 1:
        raise HTTPException(400, f"a request must have one Host header, got {len(hosts)}")
    host = _served(hosts[0], allowed)
    for origin in headers.get(b"origin", []):
        if not _is_same(origin, host):
            rule = f"pages of another origin may not ask: {origin[:100]!r} is not {hosts[0]!r}"
            raise HTTPException(403, f"{rule} (a proxy must pass the Host header on)")
    sites = headers.get(b"sec-fetch-site", [])
    if any(site.lower() not in HERE for site in sites) and not _is_navigation(scope, headers):
        raise HTTPException(403, "pages of another origin may not ask: see Sec-Fetch-Site")


def _served(host: str, allowed: frozenset[str]) -> tuple[str, int | None]:
    try:
        name, port = parse(host)
    except ValueError as error:
        raise HTTPException(403, str(error)) from error
    if name not in allowed:
        rule = f"Host {name[:100]!r} is no name of this service"
        raise HTTPException(403, f"{rule}: omni serve --allow-host NAME gives it one")
    return name, port


def _is_same(origin: str, host: tuple[str, int | None]) -> bool:
    """Whether an Origin header is that of a page of this very host and port.

    The scheme does not count: behind a proxy that speaks TLS it differs.
    """
    scheme, separator, rest = origin.partition("://")
    default = PORTS.get(scheme.lower())
    if not separator or default is None:
        return False
    try:
        name, port = parse(rest)
    except ValueError:
        return False
    return (name, port or default) == (host[0], host[1] or default)


def _is_navigation(scope: Scope, headers: dict[bytes, list[str]]) -> bool:
    """Whether somebody follows a link to here, in a window of its own: that only shows it."""
    mode, target = headers.get(b"sec-fetch-mode", []), headers.get(b"sec-fetch-dest", [])
    return scope["method"] == "GET" and mode == ["navigate"] and target == ["document"]
