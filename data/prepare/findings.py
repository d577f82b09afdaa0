"""Findings about a whole split: each is a small function over its survey."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from data.prepare.copies import repeated
from data.prepare.rules import CHECKS
from data.prepare.survey import (
    EMPTY_SHARD,
    EXAMPLES,
    UNFIT_BYTES,
    UNFIT_INDEX,
    UNFIT_SHARD,
    UNREADABLE,
    Problem,
    Survey,
)
from omni.config import AudioConfig
from omni.pipeline.formats import BITS
from omni.pipeline.plan import few_samples

ERROR, WARNING, OK = "error", "warning", "ok"
LARGE_SIDE = 512
"""pixels: the shorter side of a picture that costs several times the reading it is worth"""
SAMPLE_RATE = AudioConfig().sample_rate


@dataclass(frozen=True)
class Finding:
    """One line of the report; `count` is 0 where nothing was found."""

    severity: str
    title: str
    count: int = 0
    examples: tuple[str, ...] = ()


def judge(title: str, problem: Problem | None, limit: float = 0.0, worst: str = ERROR) -> Finding:
    """Fine when there is no problem, a warning up to `limit`, and `worst` above it."""
    if problem is None or not problem.count:
        return Finding(OK, title)
    severity = worst if problem.count > limit else WARNING
    return Finding(severity, title, problem.count, tuple(problem.examples))


def shards(survey: Survey) -> Iterator[Finding]:
    """What keeps a shard or its members from being read."""
    for title in (UNFIT_SHARD, UNFIT_INDEX, UNFIT_BYTES, UNREADABLE):
        yield judge(title, survey.problems.get(title))
    yield judge(EMPTY_SHARD, survey.problems.get(EMPTY_SHARD), worst=WARNING)


def samples(survey: Survey) -> Iterator[Finding]:
    """What the rules found in single samples."""
    senses = survey.column("senses")
    for check in CHECKS:
        number = int(np.count_nonzero(senses & BITS[check.sense]))
        limit = check.tolerated * max(number, 1)
        yield judge(check.title, survey.problems.get(check.title), limit)


def languages(survey: Survey, known: Iterable[str] | None) -> Finding:
    """Languages that the tokenizer has no token for; it is None where there is none yet."""
    title, unknown = "languages that tokenizer.json does not know", Problem()
    if known is None:
        return Finding(OK, title, 0, ("not looked at: there is no tokenizer.json",))
    for language in sorted(survey.languages.keys() - {*known}):
        texts = survey.languages[language]
        unknown.add(f"{language!r}: {texts.count:,} texts, as {texts.examples[0]}")
    return judge(title, unknown)


def keys(survey: Survey) -> Finding:
    """Keys that come again in another shard: a name that names two samples."""
    again = repeated(survey.records["key"])
    named = [survey.where(number) for number in again[:EXAMPLES].tolist()]
    return judge("keys that an earlier shard has too", Problem(len(again), named), 0, WARNING)


def rates(survey: Survey) -> Finding:
    """Recordings that must be resampled each time they are read."""
    senses, rate = survey.column("senses"), survey.column("rate")
    other = (senses & BITS["audio"] != 0) & (rate != 0) & (rate != SAMPLE_RATE)
    values, counts = np.unique(rate[other], return_counts=True)
    named = [f"{n:,} of {hertz:,} Hz" for hertz, n in zip(values, counts, strict=True)]
    problem = Problem(int(other.sum()), named[:EXAMPLES])
    return judge(
        f"recordings not at {SAMPLE_RATE:,} Hz: resampled at each read", problem, 0, WARNING
    )


def large(survey: Survey) -> Finding:
    """Pictures that should be stored smaller."""
    side = np.minimum(survey.column("width"), survey.column("height"))
    found = np.flatnonzero(side > LARGE_SIDE)
    named = [f"{survey.where(i)}: {side[i]} pixels" for i in found[:EXAMPLES].tolist()]
    title = f"pictures of more than {LARGE_SIDE} pixels on the shorter side"
    return judge(title, Problem(len(found), named), 0, WARNING)


def amounts(survey: Survey, readers: int, batch_size: int) -> Iterator[Finding]:
    """Enough shards for the processes that read them, and enough samples for one batch.

    What training accepts with a warning is a warning here, in the same words.
    """
    few = Problem()
    if survey.num_shards < readers:
        few.add(f"{survey.num_shards} shards, {readers} processes")
    yield judge("fewer shards than ranks x workers", few, 0, WARNING)
    none = Problem()
    if warning := few_samples(len(survey), batch_size):
        none.add(warning)
    yield judge("fewer samples than one batch", none, worst=WARNING if len(survey) else ERROR)
