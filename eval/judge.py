"""Independent judges: classifiers trained here on real training items only.

A judge says which concept a picture shows or a recording names. It shares no weights, no data
beyond the training split, and no architecture with the model that it judges. What it scores on
real held-out items stands beside every figure that it gives.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eval import ear, eye, pieces
from eval.corpus import Corpus, Item, concept, item
from omni.device import autocast, pick_dtype
from omni.training import muon
from omni.training.optim import step_all
from omni.training.schedule import learning_rate

PRECISION = "bf16"
"""where the processor has it: 2.5 times as fast as fp32 on two cores"""
PARTS: dict[str, ModuleType] = {"image": eye, "audio": ear}
NETWORKS: dict[str, Callable[[Sequence[str]], nn.Module]] = {"image": eye.Eye, "audio": ear.Ear}


@dataclass(frozen=True)
class JudgeConfig:
    """How a judge is trained; the learning rate warms up and follows a cosine to zero."""

    sense: str
    steps: int
    batch_size: int = 128
    lr: float = 5e-3
    warmup: int = 20
    weight_decay: float = 0.05
    label_smoothing: float = 0.1


SETTINGS = {
    "image": JudgeConfig("image", steps=300),
    "audio": JudgeConfig("audio", steps=360),
}


@dataclass
class Judge:
    """A trained classifier of one sense; `concepts` are its outputs.

    `weights` is the sha256 of the file that keeps it.
    """

    sense: str
    network: nn.Module
    concepts: list[str]
    weights: str = ""

    @torch.no_grad()
    def name(self, items: Sequence[Item], batch_size: int = 256) -> list[str]:
        """The concept that the judge takes each item for."""
        self.network.eval()
        part, found = PARTS[self.sense], []
        for start in range(0, len(items), batch_size):
            x = part.normalized(part.prepare(items[start : start + batch_size]))
            with autocast(PRECISION, x.device):
                logits = self.network(x.contiguous(memory_format=torch.channels_last))
            found += logits.argmax(dim=1).tolist()
        return [self.concepts[i] for i in found]


def train(
    config: JudgeConfig,
    items: Sequence[Item],
    labels: Sequence[str],
    names: Mapping[str, str],
    seed: int = 0,
    note: Callable[[str], None] = lambda _: None,
) -> Judge:
    """A judge trained on real items, by cross-entropy with smoothed labels. Keyed by `seed`; CPU.

    `names` says the English name of each label. Kernels learn by Muon, all else by AdamW.
    """
    part, concepts = PARTS[config.sense], sorted(set(labels))
    place = {name: i for i, name in enumerate(concepts)}
    y = torch.tensor([place[label] for label in labels])
    x = part.prepare(items)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[config.sense]([names[label] for label in concepts])
        network.train()
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        kernels = [p for p in network.parameters() if p.ndim == 4]
        rest = [p for p in network.parameters() if p.ndim < 4]
        decay = config.weight_decay
        adamw = torch.optim.AdamW(rest, weight_decay=decay)
        dtype = pick_dtype(PRECISION, x.device)
        optimizers = [muon.Muon(kernels, config.lr, decay, dtype), adamw]
        order = epochs(len(y), config.steps * config.batch_size).split(config.batch_size)
        for step, rows in enumerate(order):
            batch = part.augment(part.normalized(x[rows]))
            with autocast(PRECISION, x.device):
                logits = network(batch.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), y[rows], label_smoothing=config.label_smoothing)
            loss.backward()
            step_all(optimizers, learning_rate(step, config.lr, config.warmup, config.steps))
            if step % 10 == 0:
                note(f"{config.sense} judge: step {step}/{config.steps}, loss {loss.item():.2f}")
    return Judge(config.sense, network.eval(), concepts)


def epochs(size: int, count: int) -> Tensor:
    """`count` row numbers: one shuffled epoch of `size` rows after another."""
    return torch.cat([torch.randperm(size) for _ in range(count // size + 1)])[:count]


def load_or_train(
    config: JudgeConfig, corpus: Corpus, folder: Path, seed: int, note: Callable[[str], None]
) -> Judge:
    """The judge for this data, seed and these settings: read from `folder`, or trained and kept.

    The file's name carries a digest of settings, seed and the code that trains; the description
    beside it carries the digest of the data and of the weights. Whatever does not agree is
    trained again.
    """
    key = {"config": asdict(config), "seed": seed, "data": corpus.digest, "code": code_digest()}
    name = f"{config.sense}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    weights = folder / corpus.digest[:16] / f"{name}.safetensors"
    described = weights.with_suffix(".json")
    if weights.exists() and described.exists():
        about = json.loads(described.read_text())
        if about["key"] == key and about["sha256"] == sha256(weights):
            network = NETWORKS[config.sense]([corpus.names[c] for c in about["concepts"]])
            network.load_state_dict(load_file(weights))
            return Judge(config.sense, network.eval(), about["concepts"], about["sha256"])

    usable = [s for s in corpus.train if getattr(s, config.sense) is not None]
    start = time.perf_counter()
    judge = train(
        config,
        [item(s, config.sense) for s in usable],
        [concept(s) for s in usable],
        corpus.names,
        seed,
        note,
    )
    seconds = round(time.perf_counter() - start, 1)
    weights.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in judge.network.state_dict().items()}
    partial = weights.with_suffix(".partial")
    save_file(state, partial)
    about = {"key": key, "sha256": sha256(partial), "seconds": seconds, "concepts": judge.concepts}
    described.write_text(json.dumps(about))
    os.replace(partial, weights)  # weights appear whole, and after their description
    return replace(judge, weights=about["sha256"])


def code_digest() -> str:
    """sha256 of the files that decide what a judge learns: the code is a setting too."""
    return hashlib.sha256(
        "".join(sha256(Path(m.__file__ or "")) for m in (eye, ear, pieces, muon)).encode()
    ).hexdigest()


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
