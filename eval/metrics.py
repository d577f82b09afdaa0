"""Figures with intervals: ranks, hit rate, exact match, character error rate, bootstrap.

Letters in shapes: Q queries, G gallery items, D embedding width, K answers kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import jiwer
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# Scores closer than this count as ties: a matrix product rounds equal vectors differently.
TIE = 1e-6


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
    num_resamples: int = 1000,
) -> tuple[float, float]:
    """95 % percentile interval of `statistic` over resampled rows of `values` ([n] or [n, m]).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    generator = np.random.default_rng(seed)
    index = generator.integers(len(values), size=(num_resamples, len(values)))
    low, high = np.percentile([statistic(values[row]) for row in index], [2.5, 97.5])
    return float(low), float(high)


def measure(
    values: np.ndarray,
    seed: int,
    statistic: Callable[[np.ndarray], float] = np.mean,
    gallery: int | None = None,
    protocol: str = "",
) -> Score:
    """The `statistic` of one value (or row) a query, with its interval.

    Raises:
        ValueError: there are no queries.
    """
    values = np.asarray(values)
    if len(values) == 0:
        raise ValueError("a score needs at least one query, got none: is the split empty?")
    low, high = bootstrap(values, statistic, seed)
    return Score(float(statistic(values)), low, high, len(values), gallery, seed, protocol)


def exactly(value: float, n: int, gallery: int | None, seed: int) -> Score:
    """A figure known in closed form (chance): its interval has no width."""
    return Score(value, value, value, n, gallery, seed)


@torch.no_grad()
def rank(
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    targets: Int[Tensor, "Q"],
    block: int = 4096,
) -> Int[Tensor, "Q"]:
    """Rank (1 = best) of each query's target by dot product, exact, in blocks of `block`².

    Ties count against the query: the rank is the number of items that score at least as much as
    the target. A constant embedding is thereby ranked last everywhere, as is one with NaN.
    """
    ranks = torch.zeros(len(queries), dtype=torch.long)
    for rows in torch.arange(len(queries)).split(block):
        asked = queries[rows].float()
        own = (asked * gallery[targets[rows]].float()).sum(dim=1, keepdim=True)
        for items in gallery.split(block):
            worse = asked @ items.float().T < own - TIE  # NaN is never worse
            ranks[rows] += len(items) - worse.sum(dim=1)
    return ranks.clamp(min=1)


@torch.no_grad()
def nearest(
    queries: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"], k: int, block: int = 4096
) -> Int[Tensor, "Q K"]:
    """Indices of the `k` best gallery items for each query, best first, exact, in blocks."""
    k = min(k, len(gallery))
    return torch.cat([(part @ gallery.T).topk(k, dim=1).indices for part in queries.split(block)])


def normalize(text: str) -> str:
    """Lower case, single spaces: what exact match and CER compare."""
    return " ".join(text.casefold().split())


def matches(answers: Sequence[str], truths: Sequence[str]) -> np.ndarray:
    """For each answer whether it equals the truth after `normalize`; bool [n]."""
    pairs = zip(answers, truths, strict=True)
    return np.array([normalize(answer) == normalize(truth) for answer, truth in pairs])


def edits(answers: Sequence[str], truths: Sequence[str]) -> np.ndarray:
    """Edits and truth length in characters of each pair, by jiwer; int [n, 2]. See `error_rate`."""
    rows = []
    for answer, truth in zip(answers, truths, strict=True):
        found = jiwer.process_characters(normalize(truth), normalize(answer))
        kept = found.hits + found.substitutions + found.deletions
        rows.append((found.substitutions + found.deletions + found.insertions, kept))
    return np.array(rows)


def error_rate(rows: np.ndarray) -> float:
    """Character error rate of the whole corpus from `edits`: all edits over all characters."""
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def share(rows: np.ndarray) -> float:
    """Accuracy on made items over accuracy on real ones; rows are (made, real) hits, [n, 2]."""
    return float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1))
