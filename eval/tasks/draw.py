"""Drawings: does an independent judge see the right thing in a generated picture?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import PIL.Image

from eval.bench import Answer, Bench, Example, Item
from eval.corpus import choose, concept, item, picture
from eval.fidelity import figures as fidelity
from eval.metrics import Score, exactly, measure, share
from eval.protocol import Protocol, settings
from eval.recognition import figures as recognition
from omni import Audio
from omni.batch import Sample


def draw(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Judged accuracy of pictures made from names and from speech of `test`."""
    yield from judged(bench, "draw", "test", ("text", "audio", "direct audio"), "image")


def judged(
    bench: Bench, task: str, split: str, sources: tuple[str, ...], target: str
) -> Iterator[tuple[str, Score]]:
    """Accuracy of the judge on items made from each source, beside that on the real ones.

    From a source other than text the model makes them by way of a text that it writes itself; a
    "direct" source goes without, on every fourth item. `share` is the first over the second, on
    the same queries: how much of what the judge can see in the real item it still sees in the made
    one.
    """
    judge = bench.judge(target)
    samples = bench.corpus.queries(split, bench.limit, bench.seed)
    concepts = np.array([concept(sample) for sample in samples])
    reals = [item(sample, target) for sample in samples]
    real = np.array(judge.name(reals)) == concepts
    classes = len(judge.concepts)
    score = measure(real, bench.seed, gallery=classes)
    known = bench.protocol.judge_real if bench.protocol.task == task else {}
    vocoder = "Griffin-Lim" if bench.omni.vocoder is None else "SpeechT5HifiGan"
    bench.protocol = Protocol(
        task=task,
        decoding=settings("steps", "guidance", "candidates")
        | ({"sound": vocoder} if target == "audio" else {}),
        judge=f"{target} judge, {judge.weights}",
        judge_real={**known, split: score.value},
        limit=bench.limit,
    )
    yield f"real/{split}/{target}/judged", score
    yield from heard(bench, f"real/{split}/{target}", samples, reals)
    for source in sources:
        direct, sense = "direct " in source, source.removeprefix("direct ")
        some = slice(None, None, 4 if direct else 1)
        queries = [item(sample, sense) for sample in samples[some]]
        made = bench.omni.generate(queries, to=target, seed=bench.seed, direct=direct)
        seen = judge.name(made)
        right = np.array(seen) == concepts[some]
        name = f"{split}/{task}/{source}->{target}"
        yield f"{name}/judged", measure(right, bench.seed, gallery=classes)
        rows = np.stack([right, real[some]], axis=1)
        yield f"{name}/share", measure(rows, bench.seed, share, gallery=classes)
        few, blind = bench.untrained(samples, sense, target, direct)
        for prefix, asked, things in (("", samples[some], made), ("untrained/", few, blind)):
            yield from looked(bench, f"{prefix}{name}", asked, things)
            yield from heard(bench, f"{prefix}{name}", asked, things)
        hits = np.array(judge.name(blind)) == np.array([concept(sample) for sample in few])
        yield f"untrained/{name}/judged", measure(hits, bench.seed, gallery=classes)
        if direct:
            continue
        yield f"chance/{name}/judged", exactly(1 / classes, len(samples), classes, bench.seed)

        shown = {sample.key for sample in choose(samples, 12, bench.seed)}
        for i, sample in enumerate(samples):
            if sample.key in shown:
                answer = [Answer(made[i], bench.corpus.names[seen[i]], bool(right[i]))]
                asked = sample.text or "", queries[i], reals[i]
                bench.examples.append(Example(task, f"{source}->{target}", *asked, answer))


def looked(
    bench: Bench, name: str, asked: Sequence[Sample], things: Sequence[Item]
) -> Iterator[tuple[str, Score]]:
    """FID and KID of pictures beside the real ones, where the bench has an extractor."""
    drawn = [thing for thing in things if isinstance(thing, PIL.Image.Image)]
    if bench.extractor and len(drawn) > 1:
        true = [picture(sample) for sample in asked]
        for metric, score in fidelity(true, drawn, bench.extractor, bench.seed):
            yield f"{name}/{metric}", score


def heard(
    bench: Bench, name: str, asked: Sequence[Sample], things: Sequence[Item]
) -> Iterator[tuple[str, Score]]:
    """WER and CER of what the bench's recogniser, if any, hears in recordings of names."""
    spoken = [thing for thing in things if isinstance(thing, Audio)]
    if bench.recogniser and spoken:
        said = bench.recogniser.hear(spoken)
        for metric, score in recognition(said, [s.text or "" for s in asked], bench.seed):
            told = f"{score.protocol}; {bench.recogniser.name}"
            yield f"{name}/{metric}", replace(score, protocol=told)
