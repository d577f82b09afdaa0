"""Where a service listens: the socket, and how a browser calls it."""

import socket

from omni.serve.settings import MAX_CONNECTIONS

ANY = {"0.0.0.0": "localhost", "::": "localhost"}
"""addresses that stand for all of this machine, and which of them a browser can open"""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; with port 0 the system chooses one.

    It is taken before models are loaded, so that nobody waits for a service that cannot be.
    Raises `ValueError` for a port that is taken and for a host that is not this machine.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port must be 0 ... 65535, got {port}")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"cannot listen at --host {host} --port {port}: {reason}") from error


def page(listening: socket.socket, host: str) -> str:
    """Return the address of the page, as a browser on this machine takes it."""
    name = ANY.get(host, host)
    port = listening.getsockname()[1]
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
