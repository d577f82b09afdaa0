"""Names and addresses of a service, in one spelling each."""

import ipaddress
import re
from collections.abc import Iterable

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""names of this machine, as `parse` writes them"""
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{0,5}))?", re.ASCII | re.IGNORECASE)


def parse(host: str) -> tuple[str, int | None]:
    """Split a Host header into a name and a port; one spelling per name.

    Lower case, no dot at the end, IPv6 in its shortest form and without brackets. Raises
    `ValueError` for what is no host.
    """
    match = HOST.fullmatch(host)
    if match is None:
        raise ValueError(f"a host must be a name or an address, got {host[:100]!r}")
    name, port = match[1].lower(), match[2]
    if name.startswith("["):
        name = ipaddress.IPv6Address(name[1:-1]).compressed
    else:
        name = name.removesuffix(".")
    if not name:
        raise ValueError(f"a host must be a name or an address, got {host[:100]!r}")
    return name, int(port) if port else None


def names(hosts: Iterable[str]) -> frozenset[str]:
    """Return the names of some hosts as `parse` writes them; an IPv6 address needs no brackets.

    Raises `ValueError` for one with a scheme, a port or a path.
    """
    parsed = set()
    for host in hosts:
        address = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        try:
            name, port = parse(address)
        except ValueError:
            name, port = "", 0
        if port is not None:
            raise ValueError(f"--allow-host must be a name or an address alone, got {host[:100]!r}")
        parsed.add(name)
    return frozenset(parsed)
