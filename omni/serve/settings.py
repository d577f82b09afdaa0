"""What a service is, and the limits that it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omni.serve.hosts import LOCAL

MAX_HEADER = 16 << 10
"""bytes of a request line and its headers"""
MAX_BODY = 8 << 20
"""bytes of a body"""
MAX_HELD = 192 << 20
"""bytes of bodies, and of what is decoded from them, that all requests hold together"""
HEADER_SECONDS = 5.0
"""until the headers are there, and between two requests of a connection"""
BODY_SECONDS = 10.0
MAX_CONNECTIONS = 4096
MAX_ITEMS = 2048
"""of one request; as many as OpenAI takes"""
MAX_TEXT = 8192
"""characters of a text"""


@dataclass(frozen=True)
class Settings:
    """A service.

    Attributes:
        models: runs, folders or hub names by the name that a request gives; the first is meant
            where it gives none, and is the one of the index.
        index: folder of an index, if there is one.
        root: files below it that the index knows may be given out.
        source: folder of which the index is made first; None where it is there already.
        runs: folder of runs that are shown, and into which jobs train.
        data: folders of data sets that jobs may use, by name.
        jobs: that run at once; none at all where it is 0.
        hosts: names of the service: a request to another is refused; None for any.
        keys: of which a request must bear one, unless there are none.
        batch: items that a model takes together.
        waiting: items that wait for a model, or are with it.
        seconds: until a request is answered, or a process that does not answer is ended.
    """

    models: Mapping[str, str]
    index: Path | None = None
    root: Path | None = None
    source: Path | None = None
    runs: Path = Path("runs")
    data: Mapping[str, Path] = field(default_factory=dict)
    jobs: int = 0
    hosts: frozenset[str] | None = LOCAL
    keys: frozenset[str] = frozenset()
    device: str = "auto"
    batch: int = 32
    waiting: int = 256
    seconds: float = 60.0
