"""Descriptions: captions of the pictures and recordings of packed shards, against all of theirs.

At most `limit` of each are written, chosen by the seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from eval.bench import CONTROLS, Bench
from eval.captioning import LANGUAGES, figures
from eval.metrics import Score
from eval.protocol import BEAMS, Protocol, settings
from eval.shards import Entry, UnfitError, few
from eval.sides import holding
from omni import Omni


def describe(bench: Bench) -> Iterator[tuple[str, Score]]:
    """BLEU, ROUGE-L and CIDEr-D of the model; of an untrained one, and with others' references."""
    bench.protocol = Protocol(
        task="describe",
        references="all of the same thing in the language",
        decoding=settings("candidates") | {"search": BEAMS},
        limit=bench.limit,
    )
    shards, some = bench.shards, False
    truths: dict[tuple[str, str], dict[str, None]] = {}
    for entry in shards.entries():
        texts = truths.setdefault((entry.thing, entry.language), {})
        texts.update(dict.fromkeys(entry.texts))
    found = kinds(shards.entries(), ("image", "audio"))
    for source, language, every in (one for one in found if one[1] in LANGUAGES):
        chosen, some = few(every, bench.limit, bench.seed), True
        part = few(chosen, CONTROLS, bench.seed)
        answers = written(bench, bench.omni, chosen, source, language)
        made = written(bench, bench.fresh, part, source, language)
        name = f"{shards.split}/describe/{source}->{spoken('text', language)}"
        half = len(chosen) // 2  # away, since the neighbours may be of the same thing
        runs = [("", answers, chosen), ("untrained/", made, part)]
        runs += [("shuffled/", answers, [*chosen[half:], *chosen[:half]])] if half else []
        for control, given, entries in runs:
            right = [[*truths[entry.thing, language]] for entry in entries]
            counts = " or ".join(map(str, sorted({*map(len, right)})))
            told = f"{len(given):,} of {len(every):,}; {counts} references"
            for metric, score in figures(given, right, bench.seed, language):
                yield f"{control}{name}/{metric}", detailed(score, told)
    if not some:
        raise UnfitError(
            f"{shards.path} ({shards.split}) must have pictures or recordings with texts in "
            f"{' or '.join(LANGUAGES)} to be described, has none"
        )


def kinds(
    entries: Sequence[Entry], sources: Sequence[str]
) -> Iterator[tuple[str, str, list[Entry]]]:
    """The samples that have a source and texts, by source and language; each picture once."""
    for source in sources:
        some = holding((entry for entry in entries if entry.texts), source)
        for language in sorted({entry.language for entry in some}):
            yield source, language, [entry for entry in some if entry.language == language]


def spoken(sense: str, language: str) -> str:
    """A sense in a language as results are named: English is not told."""
    return sense if language == "en" else f"{sense}-{language}"


def written(
    bench: Bench, model: Omni, entries: Sequence[Entry], source: str, language: str
) -> list[str]:
    """What a model writes of each."""
    answers: list[str] = []
    for items in bench.shards.items([entry.number for entry in entries], source):
        answers += model.generate(items, to="text", seed=bench.seed, language=language)
        bench.note(f"{source}: {len(answers):,} of {len(entries):,} written")
    return answers


def detailed(score: Score, told: str) -> Score:
    """The same, with more said of its protocol."""
    return replace(score, protocol=f"{told}; {score.protocol}")
