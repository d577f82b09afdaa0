"""Classification of pictures or recordings: by the names of the classes, and by a linear probe.

Zero-shot as in CLIP (arXiv:2103.00020, section 3.1.4): a class is the mean of the unit vectors of
its names in all prompts, made a unit vector again. The probe is theirs too (appendix A.3): logistic
regression on frozen vectors, its strength chosen on `val`, or on a fifth of `train`, and fitted
again to all of both. Accuracy is over files, whatever their classes. Letters: N files, C classes,
D width of the vectors.
"""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import Tensor

import omni
from eval.bench import Bench
from eval.embedder import Embedder
from eval.folder import Folder
from eval.metrics import Score, exactly, measure
from eval.protocol import Protocol
from eval.ranking import ranks

DEPTHS = (1, 5)
BLOCK = 512
"""files that are in memory at a time"""
STRENGTHS = tuple(10.0**power for power in range(-2, 6))
"""inverse weights of the squared norm that are tried: of unit vectors, larger than usual"""
ITERATIONS = 1000

Labelled = tuple[Float[np.ndarray, "N D"], Int[np.ndarray, "N"]]


def classify(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Accuracy on `test`: trained, untrained, chance, and a probe of labels that are shuffled."""
    folder, size = bench.folder, len(bench.folder.classes)
    bench.protocol = Protocol(
        task="classify",
        references="one, the class of the file's folder",
        templates=tuple(folder.templates),
    )
    labels = torch.tensor(folder.labels["test"])
    name = f"test/classify/{folder.sense}->class"
    told = f"names: {sum(map(len, folder.names))}, prompts: {len(folder.templates)}"
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        tested = embed(bench, model, "test")
        places = ranks(tested, centres(model, folder), labels[:, None].tolist()).numpy()
        for k in DEPTHS:
            score = measure(places <= k, bench.seed, gallery=size, protocol=told)
            yield f"{prefix}{name}/zero_shot@{k}", score
        if "train" not in folder.files:
            continue
        known = [
            labelled(bench, model, split) for split in ("train", "val") if split in folder.files
        ]
        yield f"{prefix}{name}/probe", probed(bench, known, (tested.numpy(), labels.numpy()))
        if not prefix:
            rng = np.random.default_rng(bench.seed)
            wrong = [(vectors, rng.permutation(true)) for vectors, true in known]
            score = probed(bench, wrong, (tested.numpy(), labels.numpy()))
            yield f"shuffled/{name}/probe", score
    for k in DEPTHS:
        chance = exactly(min(1.0, k / size), len(labels), size, bench.seed)
        yield f"chance/{name}/zero_shot@{k}", chance
    if "train" in folder.files:
        yield f"chance/{name}/probe", exactly(1 / size, len(labels), size, bench.seed)


def centres(model: Embedder, folder: Folder) -> Float[Tensor, "C D"]:
    """The unit vector of each class."""
    prompts = [
        [prompt.replace("{}", name) for name in names for prompt in folder.templates]
        for names in folder.names
    ]
    vectors = model.embed([text for texts in prompts for text in texts]).float()
    means = [part.mean(0) for part in vectors.split([*map(len, prompts)])]
    return torch.nn.functional.normalize(torch.stack(means), dim=1)


def embed(bench: Bench, model: Embedder, split: str) -> Float[Tensor, "N D"]:
    """The vectors of a split's files. Raises `ValueError`, naming it, for one that is damaged."""
    files, vectors = bench.folder.files[split], []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # decoders leave the interpreter
        for start in range(0, len(files), BLOCK):
            items = list(pool.map(omni.read, files[start : start + BLOCK]))
            vectors.append(model.embed(items).float())
            bench.note(f"{split}, {start + len(items)} of {len(files)} files")
    return torch.cat(vectors)


def labelled(bench: Bench, model: Embedder, split: str) -> Labelled:
    """What a probe learns from."""
    return embed(bench, model, split).numpy(), np.array(bench.folder.labels[split])


def probed(bench: Bench, known: list[Labelled], tested: Labelled) -> Score:
    """Accuracy of a probe that has seen the vectors and labels of train, and of val if there is."""
    train, val = known if len(known) > 1 else part(known[0], bench.seed)
    # Of equal ones the first, which bends the least.
    best = max(STRENGTHS, key=lambda strength: fit(train, strength).score(*val))
    vectors, labels = (np.concatenate(column) for column in zip(train, val, strict=True))
    right = np.equal(fit((vectors, labels), best).predict(tested[0]), tested[1])
    told = f"learned from {len(labels)} files, C = {best:g}"
    size = len(bench.folder.classes)
    return measure(right, bench.seed, gallery=size, protocol=told)


def part(known: Labelled, seed: int) -> list[Labelled]:
    """A fifth of every class apart, or one file where that is more."""
    vectors, labels = known
    size = max(len(np.unique(labels)), len(labels) // 5)
    rows = train_test_split(
        np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
    )
    return [(vectors[some], labels[some]) for some in map(np.asarray, rows)]


def fit(known: Labelled, strength: float) -> LogisticRegression:
    """Multinomial logistic regression by L-BFGS; it stops after `ITERATIONS` at the latest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(*known)
