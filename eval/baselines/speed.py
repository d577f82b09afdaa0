"""How fast a step is on pictures and names alone, beside open_clip's: pairs a second of processor.

    taskset -c 1 python -m eval.baselines.speed --threads 1

A step is forward, contrast, backward, clipping and update, in bf16 where the processor has it; ours
by `Step`, theirs by `train_one_epoch` of open_clip's program. Both have the preset's timm encoder,
picture size, width, heads and batch; theirs a text transformer of as many blocks as our text
encoder and shared transformer have together, as many rows of embeddings, and texts as long. Ours
has CLIP's contrast (nothing remembered, no further texts), and its decoders as small as can be:
they learn nothing here. Pictures come as they are to both. What ours does besides is counted: its
pictures go through the shared transformer too, and its weights are averaged.

In turns, who begins changing with the turn, by the processor time of this process: what else the
machine does hardly counts. Three rows: ours as it is trained (Muon), ours by their AdamW, theirs.
"""

import argparse
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import open_clip
import torch
from open_clip_train.params import parse_args
from open_clip_train.train import train_one_epoch
from torch import nn

from eval.baselines.clip import architecture, precision, words
from eval.baselines.pairs import write_pairs
from omni.batch import Batch
from omni.config import Config, LossConfig
from omni.pipeline.loader import Loader
from omni.presets import PRESETS
from omni.progress import track
from omni.training.meter import count_flops
from omni.training.pace import step_on
from omni.training.parallel import Parallel
from omni.training.state import State

WARM_UP, BATCHES = 3, 4
CONTRAST = LossConfig(
    pairs=("image+text",),
    **dict.fromkeys(("joint", "within", "next_token", "image_flow", "audio_flow"), 0.0),
    memory=0,
)
"""the objective of CLIP"""
ALONE = {"distill": False, "rank": 0, "world_size": 1, "wandb": False, "skip_scheduler": True}
"""what open_clip's program settles before it trains"""
BETAS, EPS = (0.9, 0.98), 1e-6


class Contestant:
    """A network and its step; `seconds` of processor time, one for each turn."""

    def __init__(self, network: nn.Module, step: Callable[[], object]) -> None:
        self.network, self.step = network, step
        self.seconds: list[float] = []

    def take_turn(self) -> None:
        """One step, timed."""
        start = time.process_time()
        self.step()
        self.seconds.append(time.process_time() - start)

    def sizes(self) -> tuple[float, float]:
        """Millions of parameters that learn by a step, and GFLOP of one, those of Muon included."""
        learning: list[int] = []
        hooks = [
            p.register_post_accumulate_grad_hook(lambda p: learning.append(p.numel()))
            for p in self.network.parameters()
        ]
        flops = count_flops(self.step, self.network)
        for hook in hooks:
            hook.remove()
        return sum(learning) / 1e6, flops / 1e9


def alone(config: Config, data: Path) -> Config:
    """The preset for pictures and texts of `data` alone, with the smallest decoders."""
    model = replace(config.model, flow_draft=0, flow_depth=1, flow_width=config.model.width)
    return replace(
        config,
        model=replace(model, text=replace(model.text, decoder_depth=1)),
        data=replace(config.data, path=(str(data),), extra_texts=0),
        loss=CONTRAST,
    )


def adamw(network: nn.Module, config: Config) -> torch.optim.AdamW:
    """open_clip's AdamW: what is a matrix or a kernel decays."""
    both = [[], []]
    for p in network.parameters():
        both[p.ndim >= 2].append(p)
    decays = (0.0, config.train.weight_decay)
    groups = [{"params": p, "weight_decay": w} for p, w in zip(both, decays, strict=True)]
    return torch.optim.AdamW(groups, lr=config.train.lr, betas=BETAS, eps=EPS)


def ours(config: Config, plain: bool) -> tuple[Contestant, list[Batch]]:
    """Our network with its own optimizers, or with theirs, and the batches it goes through."""
    loader = Loader(config.data, config.train.seed)
    tokenizer = loader.make_tokenizer(config.model.text)
    state = State(config, tokenizer, Parallel(config.train, torch.device("cpu")))
    if plain:
        state.optimizers = [adamw(state.network, config)]
    batches = [loader.batch(number, tokenizer, config.model) for number in range(BATCHES)]
    return Contestant(state.network, step_on(state, cycle(batches))), batches


def theirs(config: Config, batch: Batch) -> Contestant:
    """A CLIP of open_clip on pictures of a batch, and texts as long, of tokens drawn at random."""
    model, pixels, text = config.model, batch.parts["image"].data, batch.parts["text"].data
    built = architecture(model)
    rows = model.text.vocab_size + model.text.ngrams
    built["text_cfg"] |= {"context_length": text.shape[1], "vocab_size": rows}
    network = open_clip.CLIP(**built, output_dict=True)
    images = pixels.float().div(127.5).sub(1).contiguous()
    one = SimpleNamespace(
        dataloader=Once([images, torch.randint(1, rows, text.shape)]), set_epoch=lambda epoch: None
    )
    flags = {"precision": precision(), "grad-clip-norm": 1.0, "device": "cpu"}
    flags["batch-size"] = len(pixels)
    settings = parse_args(words(flags))
    for name, value in ALONE.items():
        setattr(settings, name, value)
    optimizer, loss = adamw(network, config), open_clip.ClipLoss()

    def step() -> None:
        train_one_epoch(network, {"train": one}, loss, 0, optimizer, None, None, None, settings)

    return Contestant(network, step)


class Once:
    """A loader, as open_clip's program knows one, of a single batch."""

    num_batches = 1

    def __init__(self, batch: list[Any]) -> None:
        self.batch, self.num_samples = batch, len(batch[0])

    def __iter__(self):
        yield self.batch


def race(contestants: list[Contestant], turns: int) -> None:
    """All take their turns, each first as often as the others; the first turns do not count."""
    for turn in track(range(WARM_UP + turns), "turns"):
        for number in range(len(contestants)):
            contestants[(number + turn) % len(contestants)].take_turn()
    for contestant in contestants:
        del contestant.seconds[:WARM_UP]


def main() -> None:
    """Prints pairs a second and sizes, and how often ours is as fast."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.baselines.speed", description="Times a step beside open_clip's."
    )
    parser.add_argument("--preset", default="demo", choices=sorted(PRESETS))
    parser.add_argument("--data", default="data/sample", help="folder of shards")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    if given.turns < 2 or given.threads < 1:
        parser.error("--turns must be at least 2 and --threads at least 1")
    torch.set_num_threads(given.threads)
    logging.root.setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        try:
            write_pairs(given.data, Path(folder))
            config = alone(PRESETS[given.preset](), Path(folder))
            (first, batches), (second, _) = ours(config, False), ours(config, True)
        except (ValueError, OSError) as error:
            parser.error(str(error))
        rows = {"ours, Muon": first, "ours, AdamW": second}
        rows["open_clip, AdamW"] = last = theirs(config, batches[0])
        race([*rows.values()], given.turns)
    size = config.data.batch_size
    print(f"{'':18}pairs/s  ratio (quartiles)    parameters  GFLOP a pair")
    for name, row in rows.items():
        ratios = [b / a for a, b in zip(row.seconds, last.seconds, strict=True)]
        low, middle, high = quantiles(ratios)
        millions, flops = row.sizes()
        print(
            f"{name:18}{size / median(row.seconds):7.1f}  {middle:5.2f} ({low:.2f}-{high:.2f})"
            f"    {millions:8.2f} M  {flops / size:8.3f}"
        )


if __name__ == "__main__":
    main()
