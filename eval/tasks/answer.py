"""Answers to questions about pictures, recordings or both: written, and chosen from a list."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from eval import vqa
from eval.bench import Bench
from eval.corpus import item, keyed
from eval.metrics import Score, measure
from eval.protocol import Protocol, settings
from omni.batch import Sample
from omni.items import Item
from omni.pipeline.dataset import Dataset
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_sample, read_texts

SPLIT = "val"
CHOICES = 3_128
"""the commonest answers of training, to choose from: as many as ALBEF has (arXiv:2107.07651)"""
PEOPLE = 10
"""whose answers VQA's rule is about"""


def answer(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Accuracy of what is written and of what is chosen, for each set of senses that is asked of.

    Controls: an untrained network; `blind`, without what is asked about; `shuffled`, with what
    another question is about; and always the commonest answer of training (chance).
    """
    bench.protocol = Protocol(
        task="answer",
        references=f"exact: the commonest answer; VQA: all, where there are {PEOPLE}",
        normalizer="VQA",
        decoding=settings("candidates") | {"search": "beam, the likeliest"},
        limit=bench.limit,
    )
    common = [text for text, _ in answers(bench).most_common(CHOICES)]
    kinds: dict[str, list[Sample]] = {}
    for sample in questions(bench):
        senses = [sense for sense in ("audio", "image") if getattr(sample, sense) is not None]
        kinds.setdefault("+".join([*senses, "text"]), []).append(sample)
    for source, samples in kinds.items():
        texts = [item(sample, "text") for sample in samples]
        asked = [item(sample, source) for sample in samples]
        others = [other(*pair, source) for pair in zip(samples, turned(samples), strict=True)]
        runs = [
            ("", bench.omni, asked),
            ("untrained/", bench.fresh, asked),
            ("blind ", bench.omni, texts),
            ("shuffled ", bench.omni, others),
        ]
        for told, model, items in runs:
            control, condition = (told, "") if told.endswith("/") else ("", told)
            name = f"{control}{SPLIT}/answer/{condition}{source}->text"
            yield from figures(bench, name, samples, model.answer(items))
            yield from figures(bench, name, samples, model.answer(items, common), len(common))
        name, same = f"chance/{SPLIT}/answer/{source}->text", common[:1] * len(samples)
        yield from figures(bench, name, samples, same)


def figures(
    bench: Bench, name: str, samples: list[Sample], given: list[str], gallery: int | None = None
) -> Iterator[tuple[str, Score]]:
    """How often the answer is the commonest that people gave; VQA's rule where there are ten.

    `gallery`: how many there were to choose from.
    """
    exact, rule = ("exact", "VQA") if gallery is None else ("chosen", "VQA_chosen")
    truths = [vqa.normalize(Counter(s.answers).most_common(1)[0][0]) for s in samples]
    right = np.array([vqa.normalize(a) == t for a, t in zip(given, truths, strict=True)])
    yield f"{name}/{exact}", measure(right, bench.seed, gallery=gallery)
    if all(len(sample.answers) == PEOPLE for sample in samples):
        pairs = zip(given, samples, strict=True)
        values = np.array([vqa.accuracy(a, sample.answers) for a, sample in pairs])
        yield f"{name}/{rule}", measure(values, bench.seed, gallery=gallery)


def questions(bench: Bench) -> list[Sample]:
    """At most `limit` samples of the split that have answers, chosen by the seed."""
    dataset = Dataset(str(bench.corpus.path), SPLIT)
    reader = Reader(dataset)
    order = sorted(range(len(dataset)), key=lambda number: keyed(bench.seed, str(number)))
    samples = (decode_sample(*reader.members(number), 16_000) for number in order)
    found = [*islice((sample for sample in samples if sample.answers), bench.limit)]
    reader.close()
    if not found:
        raise ValueError(f"{dataset.name} has no sample with answers")
    return found


def answers(bench: Bench) -> Counter[str]:
    """The answers of training, and how often each was given."""
    dataset = Dataset(str(bench.corpus.path), "train")
    return Counter(text for sample in read_texts(dataset) for text in sample.answers)


def turned(samples: list[Sample]) -> list[Sample]:
    """The next one for each: they come in random order."""
    return [*samples[1:], *samples[:1]]


def other(asked: Sample, shown: Sample, source: str) -> Item:
    """The question of one sample with what another is about."""
    parts: list[Any] = [
        item(asked if sense == "text" else shown, sense) for sense in source.split("+")
    ]
    return tuple(parts)
