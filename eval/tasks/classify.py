"""Classification of pictures or recordings: by the names of the classes, and by a linear probe.

Zero-shot as in CLIP (arXiv:2103.00020, section 3.1.4): a class is the mean of the unit vectors of
its names in all prompts, made a unit vector again. The probe is theirs too (appendix A.3): logistic
regression on frozen vectors, its strength chosen on `val`, or on a fifth of `train`, and fitted
again to all of both. Accuracy is over files, whatever their classes. Letters: N files, C classes,
D width of the vectors.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import Tensor

from eval.bench import Bench
from eval.classes import Classes
from eval.embedder import Embedder
from eval.matrix import confusion
from eval.metrics import Score, exactly, measure
from eval.protocol import Protocol
from eval.ranking import ranks
from eval.shards import FOLDS

DEPTHS = (1, 5)
SHOWN = 50
"""classes at most that the report shows as a matrix of what was taken for what"""
STRENGTHS = tuple(10.0**power for power in range(-2, 6))
"""inverse weights of the squared norm that are tried: of unit vectors, larger than usual"""
ITERATIONS = 1000

Labelled = tuple[Float[np.ndarray, "N D"], Int[np.ndarray, "N"]]


def classify(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Accuracy on what is tested: trained, untrained, chance, and a probe of shuffled labels.

    Where there are folds, each is tested, and `folds` is the mean over all their files.
    """
    source = bench.classes
    bench.protocol = Protocol(
        task="classify",
        references="one, the class of the file or sample",
        templates=tuple(source.templates),
    )
    truths = {tested: np.array(source.labels[tested]) for tested in source.trials}
    size, suffix = len(source.classes), f"classify/{source.sense}->class"
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        for metric, trials in measured(bench, source, model, shuffled=not prefix):
            control = "shuffled/" if metric.startswith("shuffled ") else prefix
            if len(trials) > 1:
                values = np.concatenate([trial.right for trial in trials.values()])
                told = "; ".join(dict.fromkeys(trial.told for trial in trials.values()))
                trials = {**trials, FOLDS: Trial(values, f"{len(trials)} folds: {told}")}
            for split, trial in trials.items():
                score = measure(trial.right, bench.seed, gallery=size, protocol=trial.told)
                yield f"{control}{split}/{suffix}/{metric.removeprefix('shuffled ')}", score
    counts = {split: len(labels) for split, labels in truths.items()}
    counts |= {FOLDS: sum(counts.values())} if len(counts) > 1 else {}
    metrics = {f"zero_shot@{k}": min(1.0, k / size) for k in DEPTHS}
    metrics |= {"probe": 1 / size} if all(source.trials.values()) else {}
    for split, count in counts.items():
        for metric, value in metrics.items():
            yield f"chance/{split}/{suffix}/{metric}", exactly(value, count, size, bench.seed)


def measured(
    bench: Bench, source: Classes, model: Embedder, shuffled: bool
) -> Iterator[tuple[str, dict[str, "Trial"]]]:
    """What is right in each trial, by metric; with `shuffled` also the probe of shuffled labels."""
    splits = dict.fromkeys(s for name, known in source.trials.items() for s in (name, *known))
    told = f"names: {sum(map(len, source.names))}, prompts: {len(source.templates)}"
    known = {split: labelled(bench, model, source, split) for split in splits}
    means = centres(model, source)
    places = {
        tested: ranks(torch.tensor(vectors), means, labels[:, None].tolist()).numpy()
        for tested, (vectors, labels) in known.items()
        if tested in source.trials
    }
    for tested in places if shuffled and len(source.classes) <= SHOWN else ():
        vectors, truths = known[tested]
        taken = (torch.tensor(vectors) @ means.T).argmax(1).numpy()
        title = f"Zero-shot, {tested}"
        bench.matrices.append(confusion("classify", title, source.classes, truths, taken))
    for k in DEPTHS:
        yield f"zero_shot@{k}", {s: Trial(found <= k, told) for s, found in places.items()}
    if not all(source.trials.values()):
        return
    yield "probe", {s: probed(bench, known, s, learned) for s, learned in source.trials.items()}
    if shuffled:
        rng = np.random.default_rng(bench.seed)
        learned = dict.fromkeys(s for some in source.trials.values() for s in some)
        dealt = {s: (known[s][0], rng.permutation(known[s][1])) for s in learned}
        wrong = {s: {**dealt, s: known[s]} for s in source.trials}
        yield "shuffled probe", {s: probed(bench, wrong[s], s, source.trials[s]) for s in wrong}


class Trial(NamedTuple):
    """Which files of a split are named right, and how that was found out."""

    right: np.ndarray
    told: str


def centres(model: Embedder, source: Classes) -> Float[Tensor, "C D"]:
    """The unit vector of each class."""
    prompts = [
        [prompt.replace("{}", name) for name in names for prompt in source.templates]
        for names in source.names
    ]
    vectors = model.embed([text for texts in prompts for text in texts]).float()
    means = [part.mean(0) for part in vectors.split([*map(len, prompts)])]
    return torch.nn.functional.normalize(torch.stack(means), dim=1)


def labelled(bench: Bench, model: Embedder, source: Classes, split: str) -> Labelled:
    """What a probe learns from, or is tested on."""
    vectors = bench.embed(model, (split, f"{source.sense} by class"), source.items(split))
    return vectors.numpy(), np.array(source.labels[split])


def probed(bench: Bench, known: dict[str, Labelled], tested: str, learned: list[str]) -> Trial:
    """What a probe gets right that has seen the vectors and labels of the splits in `learned`."""
    train = joined([known[split] for split in learned if split != "val"])
    train, val = (train, known["val"]) if "val" in learned else part(train, bench.seed)
    # Of equal ones the first, which bends the least.
    best = max(STRENGTHS, key=lambda strength: fit(train, strength).score(*val))
    vectors, labels = joined([train, val])
    asked, truth = known[tested]
    right = np.equal(fit((vectors, labels), best).predict(asked), truth)
    return Trial(right, f"learned from {len(labels)} files, C = {best:g}")


def joined(parts: Sequence[Labelled]) -> Labelled:
    """Several as one."""
    vectors, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return vectors, labels


def part(known: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """A fifth of every class apart, or one file where that is more."""
    vectors, labels = known
    size = max(len(np.unique(labels)), len(labels) // 5)
    rows = train_test_split(
        np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
    )
    train, val = ((vectors[some], labels[some]) for some in map(np.asarray, rows))
    return train, val


def fit(known: Labelled, strength: float) -> LogisticRegression:
    """Multinomial logistic regression by L-BFGS; it stops after `ITERATIONS` at the latest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(*known)
