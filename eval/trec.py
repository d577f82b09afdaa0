"""TREC files: what was found and what is right, for trec_eval, pytrec_eval and their kin.

A run has lines `query Q0 item rank score name`, its qrels lines `query 0 item 1`. trec_eval orders
by score, reads it as float32 and lets ties go by the items' names, whichever is right: its figures
are those of `eval.ranking` where no two scores of a query are closer than `TIE`. `success_1` there
is our R@1; `map_cut_10` is our mAP@10 where no query has more than ten relevant items.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor


def write_run(
    path: str | Path,
    queries: Sequence[str],
    gallery: Sequence[str],
    scores: Float[Tensor, "Q K"],
    items: Int[Tensor, "Q K"],
    name: str = "omni",
) -> None:
    """Writes what `eval.ranking.nearest` found; `queries` and `gallery` are names.

    Raises:
        ValueError: a name is empty, has a space or occurs twice; a score is no finite number.
    """
    check(queries, "query")
    check(gallery, "item")
    check([name], "run")
    if not torch.isfinite(scores).all():
        row = int((~torch.isfinite(scores)).any(dim=1).nonzero()[0])
        raise ValueError(f"scores must be finite, got {scores[row].tolist()} for {queries[row]!r}")
    write(
        path,
        (
            f"{query} Q0 {gallery[item]} {place} {score:.9g} {name}"
            for query, best, values in zip(queries, items.tolist(), scores.tolist(), strict=True)
            for place, (item, score) in enumerate(zip(best, values, strict=True), 1)
        ),
    )


def write_qrels(
    path: str | Path,
    queries: Sequence[str],
    gallery: Sequence[str],
    relevant: Sequence[Sequence[int]],
) -> None:
    """Writes which items are right for each query. Raises as `write_run`."""
    check(queries, "query")
    check(gallery, "item")
    write(
        path,
        (
            f"{query} 0 {gallery[item]} 1"
            for query, items in zip(queries, relevant, strict=True)
            for item in items
        ),
    )


def check(names: Sequence[str], kind: str) -> None:
    """Raises `ValueError` for a name that the format cannot hold or cannot tell from another."""
    seen = set()
    for name in names:
        if name.split() != [name]:
            raise ValueError(f"the name of a {kind} must be one word, got {name!r}")
        if name in seen:
            raise ValueError(f"the name of a {kind} must be its own, got {name!r} twice")
        seen.add(name)


def write(path: str | Path, lines: Iterable[str]) -> None:
    """Writes a file of lines."""
    with Path(path).open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
