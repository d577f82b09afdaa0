"""A closer look at what an index has found: the things themselves are read again."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from omni.interface import Omni
from omni.items import Item
from omni.search.index import Hit
from omni.search.things import thing


def rerank(
    model: Omni, query: Item, hits: Sequence[Hit], reread: Callable[[str, str], Item]
) -> tuple[list[Hit], str]:
    """Return the hits with scores of `Omni.rerank`, best first; or as they are, and the reason.

    All of them or none, as these scores and those of vectors are of two scales. Where the query
    holds a text, the picture or else the recording of an item is looked at, and its text where
    not; `reread` reads one by sense and place.
    """
    several = query if isinstance(query, list | tuple) else (query,)
    wanted = ("image", "audio") if any(isinstance(one, str) for one in several) else ("text",)
    senses = [next((s for s in wanted if s in hit.meta), None) for hit in hits]
    if lacking := senses.count(None):
        reason = f"{lacking} of {len(hits)} found have no {' or '.join(wanted)} to compare with"
        return [*hits], f"{reason}; search in senses {' '.join(wanted)} to leave them out"
    things: list[Item] = []
    for hit, sense in zip(hits, senses, strict=True):
        assert sense is not None
        try:
            things.append(hit.meta[sense] if sense == "text" else reread(sense, hit.meta[sense]))
        except (ValueError, OSError) as error:
            return [*hits], str(error)
    if not things:
        return [], ""
    cosines = torch.tensor([[hit.score for hit in hits]])
    candidates = torch.arange(len(things))[None]
    scores = model.rerank([query], things, candidates, cosines)[0].tolist()
    looked = [replace(hit, score=score) for hit, score in zip(hits, scores, strict=True)]
    return sorted(looked, key=lambda hit: -hit.score), ""


def reread(root: Path | None, sense: str, where: str) -> Item:
    """A thing of an index. Raises `ValueError` where it is no more, or not below `root`."""
    found = thing(root, where, sense)
    if found is None:
        raise ValueError(f"{where}: there is no such {sense} any more")
    return found
