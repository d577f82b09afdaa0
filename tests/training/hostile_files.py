"""Bytes that mean harm, for the place of a rank's file in a checkpoint."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any


class Payload:
    """Unpickled, it runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def crafted(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of any header, be it nonsense."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def placed(claim: Any) -> bytes:
    """A good tensor of two numbers with any claim of its place."""
    text = claim if isinstance(claim, str) else json.dumps(claim)
    return crafted({"__metadata__": {"pieces": text}, "a": entry([2], 0, 8)}, bytes(8))


def hostile_files(canary: Path) -> dict[str, bytes]:
    """Bytes in the place of a rank's file."""
    return {
        "pickle": pickle.dumps(Payload(canary)),
        "empty": b"",
        "header of 1 GB": crafted(b"{}", length=1 << 30),
        "header of 2^64": crafted(b"{}", length=(1 << 64) - 1),
        "header of 20 MB": crafted(
            {"__metadata__": {"long": " " * (20 << 20)}, "a": entry([2], 0, 8)}, bytes(8)
        ),
        "no JSON": crafted(b"{{{{"),
        "deep JSON": crafted(b'{"a":' * 100_000),
        "overlap": crafted({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
        "hole": crafted({"a": entry([2], 4, 12)}, bytes(12)),
        "2^63": crafted({"a": entry([1 << 63], 0, 8)}, bytes(8)),
        "2^63, no data": crafted({"a": entry([1 << 63, 2], 0, 0)}),
        "shape and bytes": crafted({"a": entry([3], 0, 8)}, bytes(8)),
        "cut": crafted({"a": entry([2], 0, 8)}, bytes(4)),
        "place 2^63": placed({"a": [[1 << 63], [0]]}),
        "place beyond": placed({"a": [[2], [1]]}),
        "place below": placed({"a": [[2], [-1]]}),
        "place of other rank": placed({"a": [[2, 2], [0, 0]]}),
        "place of text": placed({"a": ["two", "none"]}),
        "place of floats": placed({"a": [[2.0], [0.0]]}),
        "place of null": placed({"a": [None]}),
        "places in a list": placed([1]),
        "places of no JSON": placed("{"),
        "deep places": placed('{"a":' * 100_000),
    }
