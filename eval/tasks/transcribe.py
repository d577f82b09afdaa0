"""Transcripts: what was said, letter by letter."""

from collections.abc import Iterator

from eval.bench import Bench
from eval.corpus import SPLITS
from eval.metrics import Score
from eval.tasks.caption import spell


def transcribe(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Exact match and character error rate from speech; on `new` in noise too, and with picture."""
    for split in SPLITS:
        yield from spell(bench, "transcribe", split, "audio")
    for source in ("audio+image", "noisy audio", "noisy audio+image"):
        yield from spell(bench, "transcribe", "new", source)
