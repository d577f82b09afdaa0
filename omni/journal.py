"""JSON lines, each complete or absent, and a file of them that a resumed run takes back."""

import errno
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, record: Mapping[str, Any], sync: bool = False) -> None:
    """One line of strict JSON, where a number that is not finite is null.

    A disk that takes no more costs the line, said on stderr, and not the run; processes may share
    the file. `sync`: the line outlives the machine too; a kill of the process it outlives anyway.
    """
    told = {name: _finite(value) for name, value in record.items()}
    line = (json.dumps(told, allow_nan=False) + "\n").encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"{path}: a line is lost: {error}: {line.decode()}", file=sys.stderr, end="")


class Journal:
    """Appends records; on opening, lines whose `field` is above `last` are dropped.

    They are what the run did after the checkpoint from which it goes on, and will do again.
    """

    def __init__(self, path: Path, field: str, last: int) -> None:
        self.path, self.field = path, field
        self.rewind(last)

    def append(self, record: Mapping[str, Any], sync: bool = False) -> None:
        """One line, as `append_line` writes it."""
        append_line(self.path, record, sync)

    def rewind(self, last: int) -> None:
        """Drops the lines above `last`, and what a kill or the disk has torn."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        kept = [line for line in lines if self._position(line) <= last]
        if len(kept) == len(lines):
            return
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def _position(self, line: bytes) -> float:
        """Infinite for what is no whole line of this file."""
        try:
            record = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            record = None
        position = record.get(self.field) if isinstance(record, dict) else None
        return position if isinstance(position, int) else math.inf


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
