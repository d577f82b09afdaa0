"""Matching: which of three senses belong together? Five answers, as in OPT (arXiv:2107.00249)."""

from collections.abc import Iterator

import numpy as np

from eval.bench import Bench
from eval.corpus import SENSES, SPLITS, item
from eval.matrix import confusion
from eval.metrics import Score, exactly, measure
from eval.protocol import Protocol
from omni.objective.matching import CLASSES

NAMES = ["all", *(" + ".join(senses) for senses in CLASSES[1:-1]), "none"]
"""of the classes: what belongs together"""


def match(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Accuracy over sequences of picture, recording and name: trained, untrained and chance.

    One sequence for each concept, its class drawn evenly. What does not belong is that of other
    concepts, drawn by the seed, a different one for each sense. A model that was not trained for it
    is not asked.
    """
    bench.protocol = Protocol(
        task="match", references=f"one of {len(CLASSES)} classes, drawn evenly"
    )
    for split in SPLITS if bench.omni.config.loss.matching else ():
        samples = bench.corpus.queries(split)
        generator = np.random.default_rng((bench.seed, len(samples)))
        kinds = generator.integers(len(CLASSES), size=len(samples))
        away = generator.integers(1, max(2, len(samples) // 3), size=(len(samples), len(SENSES)))
        sequences = []
        for number, (kind, steps) in enumerate(zip(kinds, away, strict=True)):
            # A third of the round apart at least, so that no two foreign items are of one concept.
            places = {
                sense: number if sense in CLASSES[kind] else number + step + i * len(samples) // 3
                for i, (sense, step) in enumerate(zip(SENSES, steps, strict=True))
            }
            chosen = ((samples[at % len(samples)], sense) for sense, at in places.items())
            sequences.append(tuple(item(*one) for one in chosen))
        name = f"{split}/match/image+audio+text->class/accuracy"
        found = bench.omni.match(sequences).argmax(1).numpy()
        bench.matrices.append(confusion("match", f"Matching, {split}", NAMES, kinds, found))
        yield name, measure(found == kinds, bench.seed, gallery=len(CLASSES))
        wrong = bench.fresh.match(sequences).argmax(1).numpy() == kinds
        yield f"untrained/{name}", measure(wrong, bench.seed, gallery=len(CLASSES))
        chance = exactly(1 / len(CLASSES), len(samples), len(CLASSES), bench.seed)
        yield f"chance/{name}", chance
