"""OPT's card: the tasks whose figures `eval.opt` lays out beside those of OPT."""

from collections.abc import Iterator

from eval.bench import Bench
from eval.metrics import Score
from eval.opt import PUBLISHED
from eval.protocol import Protocol
from eval.tasks.caption import caption
from eval.tasks.draw import draw
from eval.tasks.retrieval import retrieval
from eval.tasks.transcribe import transcribe


def opt(bench: Bench) -> Iterator[tuple[str, Score]]:
    """All that retrieval, caption, transcribe and draw measure, and what OPT published."""
    for task in (retrieval, caption, transcribe, draw):
        yield from task(bench)
    bench.protocol = Protocol(task="published")  # of which its paper tells too little
    yield from PUBLISHED.items()
