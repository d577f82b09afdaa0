"""Recognition: what is said in the recordings of packed shards, in words and in characters.

At most `limit` are written, chosen by the seed; see `eval.recognition`.
"""

from collections.abc import Iterator

from eval.bench import CONTROLS, Bench
from eval.metrics import Score
from eval.protocol import BEAMS, Protocol, settings
from eval.recognition import figures
from eval.shards import UnfitError, few
from eval.tasks.describe import detailed, kinds, spoken, written


def recognise(bench: Bench) -> Iterator[tuple[str, Score]]:
    """WER and CER over all recordings: trained, and an untrained network on a few."""
    bench.protocol = Protocol(
        task="recognise",
        references="one, what was said",
        decoding=settings("candidates") | {"search": BEAMS},
        limit=bench.limit,
    )
    shards, some = bench.shards, False
    for source, language, every in kinds(shards.entries(), ("audio",)):
        chosen = few(every, bench.limit, bench.seed)
        name = f"{shards.split}/recognise/{source}->{spoken('text', language)}"
        for prefix, model, asked in (
            ("", bench.omni, chosen),
            ("untrained/", bench.fresh, few(chosen, CONTROLS, bench.seed)),
        ):
            answers = written(bench, model, asked, source, language)
            truths, some = [entry.texts[0] for entry in asked], True
            for metric, score in figures(answers, truths, bench.seed, language):
                told = f"{len(asked):,} of {len(every):,}"
                yield f"{prefix}{name}/{metric}", detailed(score, told)
    if not some:
        raise UnfitError(
            f"{shards.path} ({shards.split}) must have recordings with transcripts, has none"
        )
