"""Findings about media that are there twice: within a split, and in one that it is tested on."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from data.prepare.copies import mix, near, repeated, same_picture
from data.prepare.findings import OK, WARNING, Finding, judge, shards
from data.prepare.rules import TOLERATED
from data.prepare.survey import EXAMPLES, Problem, Survey

SHARED = 0.02
"""share of a test set whose media may be met with other words before that is an error"""
COMPARED = 5_000
"""pairs of pictures that look alike and are read to be compared, at most"""


def duplicates(survey: Survey) -> Finding:
    """Samples whose media and first text are those of an earlier one."""
    records = survey.records
    media = (records["image"] | records["audio"]) != 0
    whole = np.where(media, mix(records["image"], records["audio"], records["text"]), 0)
    again = repeated(whole)
    firsts = _first_places(whole, whole[again[:EXAMPLES]])
    pairs = zip(again.tolist(), firsts.tolist(), strict=False)
    named = [f"{survey.where(j)} is {survey.where(i)}" for j, i in pairs]
    problem = Problem(len(again), named)
    return judge("exact duplicates of other samples", problem, TOLERATED * len(survey))


def leaks(ours: Survey, theirs: Survey) -> Iterator[Finding]:
    """Media of a test set that are here too: equal bytes, equal samples, or pictures that agree.

    With the same words, or with none, the answer is known: an error. With other words (two names
    of one drawing, another caption) it is one where it happens often.
    """
    for finding in shards(theirs):
        if finding.severity != OK:
            title = f"{theirs.source.name}: {finding.title}"
            yield Finding(finding.severity, title, finding.count, finding.examples)
    proposed = _proposed(ours, theirs)
    if len(proposed) == COMPARED:
        yield Finding(WARNING, f"pictures that look alike: only {COMPARED:,} pairs were compared")
    same: dict[int, int] = {}
    other: dict[int, int] = {}
    equal = (_equal(ours, theirs, name) for name in ("image", "audio", "sound"))
    for i, j in chain(*equal, _alike(ours, theirs, proposed)):
        (same if _same_words(ours, theirs, i, j) else other).setdefault(j, i)
    other = {j: i for j, i in other.items() if j not in same}
    title = f"media of {theirs.source.name} that are here too"
    yield judge(f"{title}, with the same words", _told(ours, theirs, same))
    limit = SHARED * len(theirs)
    yield judge(f"{title}, with other words", _told(ours, theirs, other), limit)


def _told(ours: Survey, theirs: Survey, pairs: dict[int, int]) -> Problem:
    few = list(pairs.items())[:EXAMPLES]
    return Problem(len(pairs), [f"{theirs.where(j)} is {ours.where(i)}" for j, i in few])


def _same_words(ours: Survey, theirs: Survey, i: int, j: int) -> bool:
    mine, other = int(ours.records["text"][i]), int(theirs.records["text"][j])
    return mine == other or not mine or not other


def _first_places(digests: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The first place of each of `wanted`; -1 where there is none."""
    if not len(digests):
        return np.full(len(wanted), -1)
    order = np.argsort(digests, kind="stable")
    place = np.searchsorted(digests, wanted, "left", sorter=order)
    first = order[np.minimum(place, len(order) - 1)]
    return np.where(digests[first] == wanted, first, -1)


def _equal(ours: Survey, theirs: Survey, name: str) -> Iterator[tuple[int, int]]:
    """Pairs of equal digests: for each of theirs one here with its text, and one with any."""
    mine, other = ours.records, theirs.records
    with_text = _first_places(mix(mine[name], mine["text"]), mix(other[name], other["text"]))
    for places in (with_text, _first_places(mine[name], other[name])):
        for j in np.flatnonzero((places >= 0) & (other[name] != 0)).tolist():
            yield int(places[j]), j


def _proposed(ours: Survey, theirs: Survey) -> list[tuple[int, int]]:
    """Pairs of different pictures with nearly the same look, at most `COMPARED`."""
    mine, other = ours.records, theirs.records
    found: set[tuple[int, int]] = set()
    for i, j in near(mine["look"], other["look"]):
        different = mine["image"][i] != other["image"][j]
        pairs = np.stack([i[different], j[different]], 1)[:COMPARED]
        found.update((a, b) for a, b in pairs.tolist())
        if len(found) >= COMPARED:
            break
    return sorted(found)[:COMPARED]


def _alike(
    ours: Survey, theirs: Survey, proposed: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Those of the pairs whose pictures agree when they are compared."""
    return ((i, j) for i, j in proposed if same_picture(ours.picture(i), theirs.picture(j)))
