"""Recognition: what is said in the recordings of packed shards, in words and in characters.

Both sides go through Whisper's normaliser (Radford et al., arXiv:2212.04356, appendix C): that of
English, or of other languages the basic one. At most `limit` are written, chosen by the seed.
"""

from collections.abc import Iterator, Sequence

import jiwer
import numpy as np
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from eval.bench import CONTROLS, Bench
from eval.metrics import Score, error_rate, measure
from eval.shards import UnfitError, few
from eval.tasks.describe import kinds, spoken, written

UNITS = {"WER": jiwer.process_words, "CER": jiwer.process_characters}


def recognise(bench: Bench) -> Iterator[tuple[str, Score]]:
    """WER and CER over all recordings: trained, and an untrained network on a few."""
    shards, some = bench.shards, False
    for source, language, every in kinds(shards.entries(), ("audio",)):
        chosen = few(every, bench.limit, bench.seed)
        name = f"{shards.split}/recognise/{source}->{spoken('text', language)}"
        told = f"{'English' if language == 'en' else 'basic'} normaliser"
        for prefix, model, asked in (
            ("", bench.model, chosen),
            ("untrained/", bench.control, few(chosen, CONTROLS, bench.seed)),
        ):
            answers = written(bench, model, asked, source, language)
            truths, some = [entry.texts[0] for entry in asked], True
            protocol = f"{told}; {len(asked):,} of {len(every):,}"
            for metric in UNITS:
                rows = edits(answers, truths, language, metric)
                score = measure(rows, bench.seed, error_rate, protocol=protocol)
                yield f"{prefix}{name}/{metric}", score
    if not some:
        raise UnfitError(
            f"{shards.path} ({shards.split}) must have recordings with transcripts, has none"
        )


def edits(answers: Sequence[str], truths: Sequence[str], language: str, metric: str) -> np.ndarray:
    """Edits and length of the truth of each pair, normalised, in the metric's units; int [n, 2]."""
    normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    rows = []
    for answer, truth in zip(answers, truths, strict=True):
        found = UNITS[metric](normalise(truth), normalise(answer))
        kept = found.hits + found.substitutions + found.deletions
        rows.append((found.substitutions + found.deletions + found.insertions, kept))
    return np.array(rows)
