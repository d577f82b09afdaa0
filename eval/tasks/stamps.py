"""Tux Paint's stamps: real voices in six languages, pictures and captions, scored by caption.

Galleries are the captions of a split in one language, each once; an answer is right if it is the
caption, whichever stamp it is of. `test` holds stamps that training never met; `held` recordings
of stamps that training knows, whose name in that language it has never heard. Recordings and
captions are re-ranked by what the text decoder hears in a recording and not in others; a caption in
another language by way of what the texts of training say for it in the language spoken.
Pictures are found once more by what pictures and captions of training are like.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.bench import Bench
from eval.corpus import choose, picture, recording
from eval.embedder import Embedder
from eval.metrics import Score, exactly, measure
from eval.protocol import Protocol
from eval.ranking import TIE
from omni import Omni
from omni.batch import Sample
from omni.items import Item
from omni.known import Known

SPLITS = ("test", "held")
LARGE = ("fr", "ru", "ca", "ro", "bg", "es")
"""the languages with about nine recordings for ten stamps"""
BANK = 32
"""recordings that say which captions are likely for anything"""
KNOWN = 3.0
"""weight of what is known of pictures, where most are of things never met; chosen on `val`"""


def stamps(bench: Bench) -> Iterator[tuple[str, Score]]:
    """R@1 of speech, pictures and sounds: trained, untrained and chance."""
    bench.protocol = Protocol(
        task="stamps", references="one caption, of any stamp that has it", normalizer="case folded"
    )
    for split in SPLITS:
        samples = bench.corpus.samples(split)
        for language in LARGE:
            spoken = of(samples, "speech", language)
            others = [x for x in LARGE if x != language] if split == "held" else []
            yield from both_ways(bench, split, f"audio-{language}", spoken, language)
            for other in others:
                yield from found(bench, split, f"audio-{language}", having(spoken, other), other)
            yield from heard_again(bench, split, language, spoken, [language, *others])
    drawn, sounds = (of(bench.corpus.samples("test"), kind, "en") for kind in ("stamp", "sound"))
    yield from both_ways(bench, "test", "image", drawn, "en")
    yield from known_again(bench, "test", drawn, "en")
    yield from found(bench, "test", "sound", sounds, "en", drawn)


def of(samples: list[Sample], kind: str, language: str) -> list[Sample]:
    """The samples of one kind in one language."""
    return [s for s in samples if s.meta["kind"] == kind and s.language == language]


def having(samples: list[Sample], language: str) -> list[Sample]:
    """The samples that have a caption in a language."""
    return [sample for sample in samples if language in sample.texts]


def both_ways(
    bench: Bench, split: str, source: str, samples: list[Sample], language: str
) -> Iterator[tuple[str, Score]]:
    """From the samples to their captions, and back."""
    yield from found(bench, split, source, samples, language)
    asked, truth = captions(samples, language), [caption(s, language) for s in samples]
    name = f"text-{language}->{source}"
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        vectors = embed(bench, model, split, source, samples)
        hit = hits(model.embed([*asked.values()]) @ vectors.T, [*asked], truth)
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
        hit = hits(queries @ model.embed([*gallery.values()]).T, truth, [*gallery])
        yield f"{prefix}{name}", measure(hit, bench.seed, gallery=size)
    yield f"chance/{name}", exactly(1 / size, len(samples), size, bench.seed)


def heard_again(
    bench: Bench, split: str, spoken_in: str, samples: list[Sample], languages: Sequence[str]
) -> Iterator[tuple[str, Score]]:
    """`both_ways`, re-ranked with a bank of training recordings, if what is spoken can be written.

    All captions are looked at for all recordings. Those in other `languages` than is spoken are
    sought and do not seek, and stand for what training says for them in the language spoken.
    """
    if spoken_in not in bench.omni.tokenizer.languages:
        return
    bank = choose(of(bench.corpus.train, "speech", spoken_in), BANK, bench.seed)
    heard, usual = ([*map(recording, some)] for some in (samples, bank))
    sought = {language: captions(having(samples, language), language) for language in languages}
    source, told = f"audio-{spoken_in}", f"bank of {len(bank)} recordings"
    for prefix, model in (("", bench.omni), ("untrained/", bench.fresh)):
        read = {x: translated(bench, model, some, x, spoken_in) for x, some in sought.items()}
        texts = [*dict.fromkeys(text for some in read.values() for text in some)]
        cosines = embed(bench, model, split, source, samples) @ model.embed([*texts]).T
        scores = look_again(model, heard, texts, cosines, spoken_in, usual)
        for language, some in sought.items():
            asking = [i for i, sample in enumerate(samples) if language in sample.texts]
            truth = [caption(samples[i], language) for i in asking]
            matrix = scores[asking][:, [texts.index(text) for text in read[language]]]
            ways = [(f"{source}->text-{language}", hits(matrix, truth, [*some]), len(some))]
            if language == spoken_in:
                back = hits(matrix.T, [*some], truth)
                ways.append((f"text-{language}->{source}", back, len(truth)))
            by = "" if language == spoken_in else f"; by way of captions of train in {spoken_in}"
            for way, hit, size in ways:
                score = measure(hit, bench.seed, gallery=size, protocol=told + by)
                yield f"{prefix}{split}/stamps/reranked {way}/R@1", score


def look_again(
    model: Omni,
    queries: Sequence[Item],
    texts: Sequence[Item],
    cosines: Float[Tensor, "Q G"],
    language: str,
    bank: Sequence[Item],
) -> Float[Tensor, "Q G"]:
    """Scores of all texts for each query (`Omni.rerank`)."""
    everything = torch.arange(len(texts)).expand(cosines.shape)
    return model.rerank(queries, texts, everything, cosines, language, bank)


def translated(
    bench: Bench, model: Embedder, texts: dict[str, str], language: str, into: str
) -> list[str]:
    """Captions in another language: what training says for that of its own nearest to each."""
    if language == into:
        return [*texts.values()]
    pairs = {
        caption(sample, language): (sample.texts[language][0], sample.texts[into][0])
        for sample in bench.corpus.train
        if language in sample.texts and into in sample.texts
    }
    known, others = zip(*pairs.values(), strict=True)
    vectors = bench.embed(model, ("train", f"{language} with {into}"), [[*known]])
    return [others[i] for i in (model.embed([*texts.values()]) @ vectors.T).argmax(1).tolist()]


def known_again(
    bench: Bench, split: str, samples: list[Sample], language: str
) -> Iterator[tuple[str, Score]]:
    """`found` for pictures, with what pictures of training and their captions are like."""
    gallery, pairs = captions(samples, language), of(bench.corpus.train, "stamp", language)
    told = f"{len(pairs)} pairs of train are known, weight {KNOWN:g}"
    for prefix, model in (("", bench.omni), ("untrained/", bench.fresh)):
        queries, texts = embed(bench, model, split, "image", samples), [*gallery.values()]
        items, pictures = model.embed([*texts]), embed(bench, model, "train", "image", pairs)
        said = model.embed([pair.texts[language][0] for pair in pairs])
        known = Known(pictures, said, model.network.scale.item(), KNOWN)
        scores = queries @ items.T + known.compare(queries, items)
        hit = hits(scores, [caption(sample, language) for sample in samples], [*gallery])
        name = f"{prefix}{split}/stamps/reranked image->text-{language}/R@1"
        yield name, measure(hit, bench.seed, gallery=len(texts), protocol=told)


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


def hits(scores: Float[Tensor, "Q G"], truth: list[str], names: list[str]) -> np.ndarray:
    """Whether what has its name scores best for each query; a tie with what has not is a miss."""
    right = torch.tensor([[name == true for name in names] for true in truth])
    assert right.any(1).all()
    own = scores.where(right, -torch.inf).amax(1)
    return (own - TIE > scores.where(~right, -torch.inf).amax(1)).numpy()
