"""Tux Paint's stamps: real voices in six languages, pictures and captions, scored by caption.

Galleries are the captions of a split in one language, each once; an answer is right if it is the
caption, whichever stamp it is of. `test` holds stamps that training never met; `held` recordings
of stamps that training knows, whose name in that language it has never heard. The best captions of
what is said are re-ranked by what the text decoder hears in it and not in other recordings.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from eval.bench import Bench
from eval.corpus import choose, picture, recording
from eval.embedder import Embedder
from eval.metrics import Score, exactly, measure
from eval.protocol import Protocol
from eval.ranking import TIE, nearest, ranks
from omni.batch import Sample

SPLITS = ("test", "held")
LARGE = ("fr", "ru", "ca", "ro", "bg", "es")
"""the languages with about nine recordings for ten stamps"""
TOP = 20
"""captions by cosine that are looked at again"""
BANK = 32
"""recordings that say which captions are likely for anything"""


def stamps(bench: Bench) -> Iterator[tuple[str, Score]]:
    """R@1 of speech, pictures and sounds: trained, untrained and chance."""
    bench.protocol = Protocol(
        task="stamps", references="one caption, of any stamp that has it", normalizer="case folded"
    )
    for split in SPLITS:
        samples = bench.corpus.samples(split)
        for language in LARGE:
            spoken = of(samples, "speech", language)
            yield from both_ways(bench, split, f"audio-{language}", spoken, language)
            yield from heard_again(bench, split, language, spoken, language)
            for other in LARGE if split == "held" else ():
                named = [sample for sample in spoken if other in sample.texts]
                if other != language:
                    yield from found(bench, split, f"audio-{language}", named, other)
                    yield from heard_again(bench, split, language, named, other)
    drawn, sounds = (of(bench.corpus.samples("test"), kind, "en") for kind in ("stamp", "sound"))
    yield from both_ways(bench, "test", "image", drawn, "en")
    yield from found(bench, "test", "sound", sounds, "en", drawn)


def of(samples: list[Sample], kind: str, language: str) -> list[Sample]:
    """The samples of one kind in one language."""
    return [s for s in samples if s.meta["kind"] == kind and s.language == language]


def both_ways(
    bench: Bench, split: str, source: str, samples: list[Sample], language: str
) -> Iterator[tuple[str, Score]]:
    """From the samples to their captions, and back."""
    yield from found(bench, split, source, samples, language)
    asked, truth = captions(samples, language), [caption(s, language) for s in samples]
    name = f"text-{language}->{source}"
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        vectors = embed(bench, model, split, source, samples)
        hit = hits(model.embed([*asked.values()]), vectors, [*asked], truth)
        yield f"{prefix}{split}/stamps/{name}/R@1", measure(hit, bench.seed, gallery=len(truth))


def found(
    bench: Bench,
    split: str,
    source: str,
    samples: list[Sample],
    language: str,
    others: Sequence[Sample] = (),
) -> Iterator[tuple[str, Score]]:
    """How often the caption nearest to a sample is its own, of theirs and those of `others`."""
    gallery = captions([*samples, *others], language)
    truth = [caption(sample, language) for sample in samples]
    name, size = f"{split}/stamps/{source}->text-{language}/R@1", len(gallery)
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        queries = embed(bench, model, split, source, samples)
        hit = hits(queries, model.embed([*gallery.values()]), truth, [*gallery])
        yield f"{prefix}{name}", measure(hit, bench.seed, gallery=size)
    yield f"chance/{name}", exactly(1 / size, len(samples), size, bench.seed)


def heard_again(
    bench: Bench, split: str, spoken_in: str, samples: list[Sample], language: str
) -> Iterator[tuple[str, Score]]:
    """`found`, re-ranked with a bank of training recordings, in a language that can be written."""
    if language not in bench.omni.tokenizer.languages:
        return
    gallery = captions(samples, language)
    places = {name: [place] for place, name in enumerate(gallery)}
    spoken = of(bench.corpus.train, "speech", spoken_in)
    bank = [recording(sample) for sample in choose(spoken, BANK, bench.seed)]
    source, texts = f"audio-{spoken_in}", [*gallery.values()]
    for prefix, model in (("", bench.omni), ("untrained/", bench.fresh)):
        queries = embed(bench, model, split, source, samples)
        cosines, best = nearest(queries, model.embed(texts), TOP)
        heard = [recording(sample) for sample in samples]
        scores = model.rerank([*heard], [*texts], best, cosines, language, bank)
        right = best == torch.tensor([places[caption(sample, language)] for sample in samples])
        own = scores.where(right, -torch.inf).amax(1)
        hit = own - TIE > scores.where(~right, -torch.inf).amax(1)
        name = f"{prefix}{split}/stamps/reranked {source}->text-{language}/R@1"
        told = f"of the best {TOP}; bank of {len(bank)} recordings of train"
        yield name, measure(hit.numpy(), bench.seed, gallery=len(texts), protocol=told)


def embed(bench: Bench, model: Embedder, split: str, source: str, samples: list[Sample]) -> Tensor:
    """Vectors of the pictures, or else of the recordings, of samples."""
    make = picture if source == "image" else recording
    key = " ".join([source, *(sample.key for sample in samples)])
    return bench.vectors(model, (split, key), samples, make)


def caption(sample: Sample, language: str) -> str:
    """The sample's caption in a language; two that differ in case alone are one."""
    return sample.texts[language][0].casefold()


def captions(samples: list[Sample], language: str) -> dict[str, str]:
    """Each caption of some samples once, as it is written."""
    return {caption(sample, language): sample.texts[language][0] for sample in samples}


def hits(queries: Tensor, gallery: Tensor, truth: list[str], names: list[str]) -> np.ndarray:
    """Whether the best answer to each query has its name; a tie with one that has not is a miss."""
    places = defaultdict(list)
    for index, name in enumerate(names):
        places[name].append(index)
    return (ranks(queries, gallery, [places[true] for true in truth]) == 1).numpy()
