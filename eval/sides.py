"""What packed shards have in each sense, as vectors, and what each of these shows.

A thing is whatever samples show: a picture with its captions, a recording with its, a concept. An
answer is right if it is of the same thing as the query. Letters: N items, D width.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from eval.bench import Bench
from eval.embedder import Embedder
from eval.shards import BLOCK, Entry, Shards
from omni.items import Item


@dataclass(frozen=True)
class Side:
    """All items of one sense, or of two at once.

    Attributes:
        vectors: one an item.
        things: for each item the numbers of the things that it is of: of several where a text is.
    """

    vectors: Float[Tensor, "N D"]
    things: list[list[int]]

    def of(self, things: range) -> "Side":
        """The items of some of the things."""
        found = [[n for n in some if n in things] for some in self.things]
        kept = [i for i, some in enumerate(found) if some]
        return Side(self.vectors[torch.tensor(kept, dtype=torch.long)], [found[i] for i in kept])


def numbered(shards: Shards) -> dict[str, int]:
    """The things of the split in their order, with their numbers."""
    return {thing: i for i, thing in enumerate(dict.fromkeys(e.thing for e in shards.entries()))}


def side(bench: Bench, model: Embedder, senses: str) -> Side | None:
    """The items that are there in `senses`, joined by +; None without any.

    Texts that are the same are one item, and so is a picture that several samples hold. Of several
    texts a query of two senses has the first.
    """
    shards, things = bench.shards, numbered(bench.shards)
    key = shards.split, f"{senses} of things"
    if senses == "text":
        texts: dict[str, dict[int, None]] = {}
        for entry in shards.entries():
            for text in entry.texts:
                texts.setdefault(text, {})[things[entry.thing]] = None
        if not texts:
            return None
        return Side(bench.embed(model, key, parted([*texts])), [*map(list, texts.values())])
    some = holding(shards.entries(), senses)
    if not some:
        return None
    blocks = shards.items([entry.number for entry in some], senses)
    return Side(bench.embed(model, key, blocks), [[things[entry.thing]] for entry in some])


def holding(entries: Iterable[Entry], senses: str) -> list[Entry]:
    """The samples that have all of `senses`; of those with one picture and nothing else, one."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.senses.issuperset(senses.split("+")):
            found.setdefault(entry.picture if senses == "image" else str(entry.number), entry)
    return [*found.values()]


def parted(texts: Sequence[Item]) -> Iterator[list[Item]]:
    """Texts in blocks."""
    for start in range(0, len(texts), BLOCK):
        yield [*texts[start : start + BLOCK]]


def relevant(asked: Side, gallery: Side) -> list[list[int]]:
    """For each query the items of the gallery that are of its things, in order; perhaps none."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number, things in enumerate(gallery.things):
        for thing in things:
            found[thing].append(number)
    return [sorted({i for thing in some for i in found[thing]}) for some in asked.things]
