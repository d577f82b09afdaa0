"""Steps: how many a picture or a recording needs, of one candidate each and without choosing."""

from collections.abc import Iterator

import numpy as np

from eval.bench import Bench
from eval.corpus import concept, item
from eval.metrics import Score, measure
from eval.protocol import Protocol, settings

STEPS = (2, 4, 8, 16, 50)


def steps(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Judged accuracy of pictures and speech made from names of `test` in so many steps."""
    samples = bench.corpus.queries("test", bench.limit, bench.seed)
    concepts = np.array([concept(sample) for sample in samples])
    judges: dict[str, str] = {}
    names = [item(sample, "text") for sample in samples]
    for target in ("image", "audio"):
        judge = bench.judge(target)
        judges[target] = judge.weights
        bench.protocol = Protocol(
            task="steps",
            decoding=settings("guidance") | {"candidates": 1},
            judge=", ".join(f"{sense} judge, {weights}" for sense, weights in judges.items()),
            limit=bench.limit,
        )
        for count in STEPS:
            made = bench.omni.generate(names, to=target, seed=bench.seed, steps=count, candidates=1)
            right = np.array(judge.name(made)) == concepts
            score = measure(right, bench.seed, gallery=len(judge.concepts), protocol="1 candidate")
            yield f"test/steps/text->{target}/judged@{count}", score
