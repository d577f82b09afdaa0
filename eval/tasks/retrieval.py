"""Retrieval: which of all concepts does a picture, a name or a recording mean?

Six directions, then joint queries of two senses, each against one item for every concept of the
split; pictures and names once more by what training pairs are like, and after the text decoder has
looked at the best of them.
Queries of concepts that training never met are asked of the same gallery and reported under
`unseen-`. R@k is hit rate, as in CLIP (Radford et al. 2021) and Karpathy's splits.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Int

from eval.bench import Answer, Bench, Example, Matrix
from eval.corpus import SENSES, SPLITS, is_seen, item
from eval.embedder import Embedder
from eval.metrics import Score, exactly, measure
from eval.protocol import Protocol
from eval.ranking import DEPTHS, TIE, nearest, ranks
from omni import Omni
from omni.batch import Sample
from omni.known import Known

DIRECTIONS = [(source, target) for source in SENSES for target in SENSES if source != target]
JOINT = [("audio+image", "text"), ("audio+text", "image"), ("image+text", "audio")]
NOISY = ["noisy audio", "noisy audio+image"]
RERANKED = [("image", "text"), ("text", "image")]
TOP = 20
"""that are best by cosine and by known pairs are looked at again by the text decoder"""
SHOWN = [("audio", "image"), ("text", "image"), ("image", "text")]


def retrieval(bench: Bench) -> Iterator[tuple[str, Score]]:
    """R@1, R@5, R@10 and median rank: trained, untrained and chance, on `test` and `new`."""
    bench.protocol = Protocol(
        task="retrieval", references="one, of the same sample; a tie counts against the query"
    )
    whole = isinstance(bench.model, Omni)  # others have two senses, and take one at once
    for split in SPLITS:
        for source, target in possible(bench.model, DIRECTIONS):
            yield from directed(bench, bench.model, split, source, target)
            yield from directed(bench, bench.control, split, source, target, "untrained/")
        for source, target in JOINT if whole else ():
            yield from directed(bench, bench.model, split, source, target)
        for source, target in RERANKED if whole else ():
            yield from directed(bench, bench.model, split, f"reranked {source}", target)
    for source in NOISY if whole else ():
        yield from directed(bench, bench.model, "new", source, "text")
    for source, target in possible(bench.model, SHOWN):
        show(bench, source, target)
        compare(bench, source, target)


def possible(model: Embedder, directions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of which the model has both senses."""
    return [both for both in directions if model.senses.issuperset(both)]


def directed(
    bench: Bench, model: Embedder, split: str, source: str, target: str, prefix: str = ""
) -> Iterator[tuple[str, Score]]:
    """Figures of one direction; for the model itself those of chance and unseen concepts too."""
    samples = bench.corpus.gallery(split)
    places = positions(bench, model, split, source, target).numpy()
    seen = np.array([is_seen(sample) for sample in samples])
    again = source.startswith("reranked ")
    protocol = bench.condition(source)
    if again:
        pairs = complete(bench, source.removeprefix("reranked "), target)
        protocol = f"of the best {TOP}; {len(pairs):,} pairs of train are known"
    groups = {split: seen} if prefix else {split: seen, f"unseen-{split}": ~seen}
    for group, chosen in groups.items():
        if not chosen.any():
            continue
        name, size = f"{group}/retrieval/{source}->{target}", len(samples)
        score = partial(measure, seed=bench.seed, gallery=size, protocol=protocol)
        for k in DEPTHS:
            yield f"{prefix}{name}/R@{k}", score(places[chosen] <= k)
        yield f"{prefix}{name}/median_rank", score(places[chosen], statistic=np.median)
        if not prefix:
            chance = partial(exactly, n=int(chosen.sum()), gallery=size, seed=bench.seed)
            for k in DEPTHS:
                yield f"chance/{name}/R@{k}", chance(min(1.0, k / size))
            yield f"chance/{name}/median_rank", chance((size + 1) / 2)


def positions(
    bench: Bench, model: Embedder, split: str, source: str, target: str
) -> Int[torch.Tensor, "Q"]:
    """The rank of what belongs to each sample; in a reranked direction after the closer look."""
    samples, plain = bench.corpus.gallery(split), source.removeprefix("reranked ")
    asked, gallery = vectors(bench, model, split, plain), vectors(bench, model, split, target)
    if plain == source:
        return ranks(asked, gallery, [[i] for i in range(len(samples))])
    found = asked @ gallery.T + known(bench, plain, target).compare(asked, gallery)
    first = (found >= found.diag()[:, None] - TIE).sum(1)
    cosines, best = found.topk(TOP, 1)
    queries, items = ([item(sample, sense) for sample in samples] for sense in (plain, target))
    scores = bench.omni.rerank(queries, items, best, cosines)
    right = best == torch.arange(len(samples))[:, None]
    own = scores.where(right, -torch.inf).amax(1, keepdim=True)
    # What is not among them keeps its place behind them.
    return torch.where(right.any(1), (scores >= own - TIE).sum(1), first)


def known(bench: Bench, source: str, target: str) -> Known:
    """The training samples that have both senses."""
    pairs = complete(bench, source, target)
    first, second = (
        bench.vectors(bench.model, ("train", sense), pairs, partial(item, senses=sense))
        for sense in (source, target)
    )
    return Known(first, second, bench.omni.network.scale.item())


def complete(bench: Bench, *senses: str) -> list[Sample]:
    """The training samples that have all of some senses."""
    return [s for s in bench.corpus.train if all(getattr(s, sense) is not None for sense in senses)]


def vectors(bench: Bench, model: Embedder, split: str, senses: str) -> torch.Tensor:
    """Embeddings of the split's samples in one or several senses, one with noise perhaps."""

    return bench.vectors(
        model, (split, senses), bench.corpus.gallery(split), lambda s: bench.item(s, senses)
    )


def show(bench: Bench, source: str, target: str, split: str = "new", count: int = 6) -> None:
    """Keeps the five best answers to a few queries, chosen by the seed, for the report."""
    samples = bench.corpus.gallery(split)
    asked = bench.corpus.queries(split, count, bench.seed)
    index = [next(i for i, s in enumerate(samples) if s is query) for query in asked]
    _, answers = nearest(
        vectors(bench, bench.model, split, source)[index],
        vectors(bench, bench.model, split, target),
        k=5,
    )
    for query, own, row in zip(asked, index, answers.tolist(), strict=True):
        found = [Answer(item(samples[i], target), samples[i].text, i == own) for i in row]
        shown = item(query, source), item(query, target)
        example = Example("retrieval", f"{source}->{target}", query.text or "", *shown, found)
        bench.examples.append(example)


def compare(bench: Bench, source: str, target: str, split: str = "new", count: int = 24) -> None:
    """Keeps the cosines between a few things in two senses, chosen by the seed, for the report."""
    chosen = {id(sample) for sample in bench.corpus.queries(split, count, bench.seed)}
    index = [i for i, s in enumerate(bench.corpus.gallery(split)) if id(s) in chosen]
    names = [bench.corpus.gallery(split)[i].text or "" for i in index]
    rows, columns = (vectors(bench, bench.model, split, sense)[index] for sense in (source, target))
    title = f"{source} against {target}, {split}"
    bench.matrices.append(
        Matrix("retrieval", title, names, names, (rows @ columns.T).clamp(0, 1).numpy())
    )
