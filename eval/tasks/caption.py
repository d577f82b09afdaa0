"""Captions: the name of a picture, letter by letter."""

from collections.abc import Iterator

from eval.bench import Answer, Bench, Example
from eval.corpus import SPLITS, choose
from eval.metrics import Score, edits, error_rate, exactly, matches, measure
from eval.protocol import BEAMS, Protocol, settings


def caption(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Exact match and character error rate of captions of seen concepts, `test` and `new`."""
    for split in SPLITS:
        yield from spell(bench, "caption", split, "image")


def spell(bench: Bench, task: str, split: str, source: str) -> Iterator[tuple[str, Score]]:
    """Exact match and CER of the text generated from `source`, by beam search.

    Text is compared in lower case with single spaces. Chance is the pick of one name out of all.
    """
    bench.protocol = Protocol(
        task=task,
        references="one, its name",
        normalizer="lower case, single spaces",
        decoding=settings("candidates") | {"search": BEAMS},
    )
    samples = bench.corpus.queries(split)
    truths = [sample.text or "" for sample in samples]
    answers = bench.omni.generate(
        [bench.item(sample, source) for sample in samples], to="text", seed=bench.seed
    )
    right = matches(answers, truths)
    name, size = f"{split}/{task}/{source}->text", len(bench.corpus.gallery(split))
    told = bench.condition(source)
    yield f"{name}/exact", measure(right, bench.seed, protocol=told)
    rows = edits(answers, truths)
    yield f"{name}/CER", measure(rows, bench.seed, error_rate, protocol=told)
    few, control = bench.untrained(samples, source, to="text")
    wrong = matches(control, [sample.text or "" for sample in few])
    yield f"untrained/{name}/exact", measure(wrong, bench.seed)
    yield f"chance/{name}/exact", exactly(1 / size, len(samples), size, bench.seed)

    shown = {sample.key for sample in choose(samples, 12, bench.seed)}
    for sample, answer, ok in zip(samples, answers, right, strict=True):
        if split == "new" and sample.key in shown:
            real, made = sample.text or "", [Answer(answer, answer, bool(ok))]
            example = Example(task, f"{source}->text", real, bench.item(sample, source), real, made)
            bench.examples.append(example)
