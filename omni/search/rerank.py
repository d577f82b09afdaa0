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
) -> tuple[list[Hit], list[str]]:
    """The hits with scores of `Omni.rerank`, best first, and what kept it from looking at some.

    Where the query holds a text, the picture or else the recording of an item is looked at, and
    its text where not; `reread` reads one by sense and place. What cannot be read any more keeps
    score and place. Raises `ValueError` where no item has what the query must be compared with.
    """
    several = query if isinstance(query, list | tuple) else (query,)
    wanted = ("image", "audio") if any(isinstance(one, str) for one in several) else ("text",)
    if hits and not any(sense in hit.meta for hit in hits for sense in wanted):
        raise ValueError(
            f"what is found has no {' or '.join(wanted)} to be re-ranked: either query or item "
            "must hold a text, and the other one a picture or a recording"
        )
    things: dict[int, Item] = {}
    errors = []
    for place, hit in enumerate(hits):
        try:
            sense = next(sense for sense in wanted if sense in hit.meta)
            things[place] = hit.meta[sense] if sense == "text" else reread(sense, hit.meta[sense])
        except StopIteration:
            errors.append(f"{hit.name}: there is no {' or '.join(wanted)} of it")
        except (ValueError, OSError) as error:
            errors.append(str(error))
    if not things:
        return [*hits], errors
    cosines = torch.tensor([[hits[place].score for place in things]])
    candidates = torch.arange(len(things))[None]
    scores = model.rerank([query], [*things.values()], candidates, cosines)[0].tolist()
    looked = [replace(hits[at], score=s) for at, s in zip(things, scores, strict=True)]
    again = iter(sorted(looked, key=lambda hit: -hit.score))
    return [next(again) if at in things else hit for at, hit in enumerate(hits)], errors


def reread(root: Path | None, sense: str, where: str) -> Item:
    """A thing of an index. Raises `ValueError` where it is no more, or not below `root`."""
    found = thing(root, where, sense)
    if found is None:
        raise ValueError(f"{where}: there is no such {sense} any more")
    return found
