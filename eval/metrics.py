"""Figures with intervals: exact match, error rates, bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import jiwer
import numpy as np


@dataclass(frozen=True)
class Score:
    """One figure with its 95 % interval and what it was measured on.

    `n` is the number of queries, `gallery` the number of items to choose from (None where nothing
    is chosen), `seed` keys bootstrap, noise, subsets and sampling; `protocol` names any condition
    beyond the task's own. `task` is the one that measured it, whose protocol is stated once.
    """

    value: float
    low: float
    high: float
    n: int
    gallery: int | None
    seed: int
    protocol: str = ""
    task: str = ""

    def to_json(self) -> dict:
        """The fields as a dictionary, without empty texts."""
        return {k: v for k, v in asdict(self).items() if v != ""}


INTERVAL = "95 %, percentile bootstrap over queries, 1,000 resamples"
"""of every figure that is no closed form; see `bootstrap`"""


def bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    seed: int,
    groups: np.ndarray | None = None,
    num_resamples: int = 1000,
) -> tuple[float, float]:
    """95 % percentile interval of `statistic` over resampled rows of `values` ([n] or [n, m]).

    Rows of one of the `groups` ([n]) are drawn together: captions of one picture are no five
    independent queries. Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993),
    section 13.3; Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    generator = np.random.default_rng(seed)
    if groups is None:
        draw = partial(generator.integers, len(values), size=len(values))
    else:
        draw = partial(_draw_groups, generator, groups)
    # One resample at a time: a thousand of 25,000 queries would take 200 MB of indices.
    found = [statistic(values[draw()]) for _ in range(num_resamples)]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _draw_groups(generator: np.random.Generator, groups: np.ndarray) -> np.ndarray:
    """Rows of as many groups as there are, drawn with replacement, each whole."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    drawn = generator.integers(len(starts), size=len(starts))
    sizes = counts[drawn]
    within = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
    return order[np.repeat(starts[drawn], sizes) + within]


def measure(
    values: np.ndarray,
    seed: int,
    statistic: Callable[[np.ndarray], float] = np.mean,
    gallery: int | None = None,
    protocol: str = "",
    groups: np.ndarray | None = None,
) -> Score:
    """The `statistic` of one value (or row) a query, with its interval (see `bootstrap`).

    Raises:
        ValueError: there are no queries.
    """
    values = np.asarray(values)
    if len(values) == 0:
        raise ValueError("a score needs at least one query, got none: is the split empty?")
    low, high = bootstrap(values, statistic, seed, groups)
    return Score(float(statistic(values)), low, high, len(values), gallery, seed, protocol)


def exactly(value: float, n: int, gallery: int | None, seed: int) -> Score:
    """A figure known in closed form (chance): its interval has no width."""
    return Score(value, value, value, n, gallery, seed)


def normalize(text: str) -> str:
    """Lower case, single spaces: what exact match and CER compare."""
    return " ".join(text.casefold().split())


def matches(answers: Sequence[str], truths: Sequence[str]) -> np.ndarray:
    """For each answer whether it equals the truth after `normalize`; bool [n]."""
    pairs = zip(answers, truths, strict=True)
    return np.array([normalize(answer) == normalize(truth) for answer, truth in pairs])


def edits(
    answers: Sequence[str],
    truths: Sequence[str],
    process: Callable = jiwer.process_characters,
    clean: Callable[[str], str] = normalize,
) -> np.ndarray:
    """Edits and truth length of each pair after `clean`, by jiwer; int [n, 2]. See `error_rate`.

    `process` is jiwer's: both are in characters, or by `jiwer.process_words` in words.
    """
    rows = []
    for answer, truth in zip(answers, truths, strict=True):
        found = process(clean(truth), clean(answer))
        kept = found.hits + found.substitutions + found.deletions
        rows.append((found.substitutions + found.deletions + found.insertions, kept))
    return np.array(rows)


def error_rate(rows: np.ndarray) -> float:
    """Error rate of the whole corpus from `edits`: all edits over all characters, or words.

    Where all truths are empty it is the number of edits, as in jiwer.
    """
    return float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1))


def share(rows: np.ndarray) -> float:
    """Accuracy on made items over accuracy on real ones; rows are (made, real) hits, [n, 2]."""
    return float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1))
