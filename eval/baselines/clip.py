r"""A CLIP (arXiv:2103.00020) that open_clip's own program trains on the pictures and their names.

    python -m eval.baselines.clip --minutes 25 --out runs/clip
    python train.py demo --name pairs --data.path runs/clip/pairs --loss.pairs image+text \
        --loss.joint 0 --loss.matching 0 --loss.next-token 0 --loss.image-flow 0 \
        --loss.audio-flow 0 --train.sample-every 0
    python -m eval.run runs/pairs retrieval

The second trains ours on the very same pairs and on no other sense: --train.steps says how long.

`open_clip_train` runs as it is: its loader, augmentation, model, loss, AdamW and cosine, in bf16
autocast where the processor has it. How long an epoch takes is measured first; then as many are
trained as fill the minutes of this process's CPU time, in which nothing counts that runs beside.
Chosen for it:

- the timm encoder of our preset from scratch, its picture size and its embedding size; a text
  transformer as wide as ours and as deep as our text encoder and shared transformer together, with
  CLIP's tokenizer and room for every name of the emoji (8 tokens), not much more;
- captions: the English texts that our loader would draw, one pair for each;
- the batch size of our preset, pictures changed about as much as ours (`AUGMENTATION`; --crop for
  the program's own default), the gradient clipped to norm 1, a twentieth of the steps for the
  warm-up, and AdamW's second beta as ours.

The program knows no averaged weights: the last ones are measured. The folder holds the pairs, the
log, the model as open_clip saves one to a hub, and the figures of retrieval.
"""

import argparse
import io
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from open_clip_train.main import main as train
from rich.progress import Progress
from safetensors.torch import save_file

from eval.baselines.pairs import TABLE, write_pairs
from eval.run import main as measure
from omni.config import ModelConfig
from omni.device import pick_dtype
from omni.presets import PRESETS

CONTEXT = 12
"""tokens of a text, with those that begin and end it"""
TIMED = 3
"""epochs that are timed; the first, in which all is loaded, and the last, which saves, left out"""
AUGMENTATION = {"use_timm": True, "scale": (0.6, 1.0), "color_jitter": 0.4, "re_prob": 0.5}
"""fields of open_clip's `AugmentationCfg`; the rest is as it says"""


class Epochs(logging.Handler):
    """CPU seconds of this process at the start of every epoch, which the program tells its log."""

    def __init__(self, told: Callable[[int], object]) -> None:
        super().__init__()
        self.told, self.starts = told, list[float]()

    def emit(self, record: logging.LogRecord) -> None:
        """Notes the time where an epoch begins, and tells how many are done."""
        if record.getMessage().startswith("Start epoch"):
            self.told(len(self.starts))
            self.starts.append(time.process_time())


def architecture(model: ModelConfig) -> dict[str, Any]:
    """The settings of open_clip that come closest to our network's picture and text."""
    return {
        "embed_dim": model.embed_dim,
        "vision_cfg": {
            "image_size": model.image.size,
            "timm_model_name": model.image.encoder,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "width": model.width,
            "heads": model.num_heads,
            "layers": model.text.depth + model.depth,
        },
    }


@contextmanager
def logs_to(handler: logging.Handler) -> Iterator[None]:
    """All logs go there and where the program writes them; afterwards they go where they went."""
    root = logging.root
    loggers = [root, *map(logging.getLogger, root.manager.loggerDict)]
    levels = [logger.level for logger in loggers]
    before, root.handlers = root.handlers, [handler]
    try:
        yield
    finally:
        for opened in root.handlers:
            opened.close()
        root.handlers = before
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def run(flags: list[str], told: Callable[[int], object]) -> list[float]:
    """Trains by the program, in this process; CPU seconds of each epoch.

    Its log goes to the file that it writes, not to the terminal. `told` hears of epochs done.
    """
    epochs = Epochs(told)
    quiet = redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore")
    with logs_to(epochs), quiet[0], quiet[1]:
        train(flags)
        end = time.process_time()
    told(len(epochs.starts))
    return [stop - start for start, stop in pairwise([*epochs.starts, end])]


def settings(given: argparse.Namespace) -> list[str]:
    """The flags of the program that do not depend on how long it trains."""
    changes = {} if given.crop else AUGMENTATION
    flags = {
        "model": f"local-dir:{given.out}",
        "train-data": given.out / "pairs" / TABLE,
        "dataset-type": "csv",
        "csv-separator": ",",
        "csv-img-key": "image",
        "csv-caption-key": "text",
        "workers": 0,  # the CPU time of others would not be ours
        "device": "cpu",
        "precision": precision(),
        "batch-size": given.batch_size,
        "lr": given.lr,
        "wd": given.wd,
        "beta1": 0.9,
        "beta2": 0.98,
        "eps": 1e-6,
        "grad-clip-norm": 1.0,
        "save-frequency": 0,
        "seed": given.seed,
        "name": "log",
    }
    pairs = [f"{name}={value}".replace(" ", "") for name, value in changes.items()]
    return words(flags) + (["--aug-cfg", *pairs] if pairs else [])


def precision() -> str:
    """What the program calls the arithmetic in which ours is trained on this processor."""
    half = pick_dtype("bf16", torch.device("cpu")) == torch.bfloat16
    return "amp_bf16" if half else "fp32"


def words(flags: dict[str, Any]) -> list[str]:
    """Flags as the program reads them."""
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def train_for(given: argparse.Namespace) -> tuple[int, float]:
    """Trains for the minutes or the epochs asked for; epochs and the CPU minutes that they took.

    Raises `ValueError` for data that cannot be read, and where the folder holds a run.
    """
    if (given.out / "log").exists():
        raise ValueError(f"--out must be a new folder, {given.out} holds a run: delete it")
    pairs = write_pairs(given.data, given.out / "pairs")
    if pairs < given.batch_size:
        raise ValueError(f"--batch-size must be at most {pairs}, the pairs; got {given.batch_size}")
    model = {"model_cfg": architecture(PRESETS[given.preset]().model)}
    (given.out / "open_clip_config.json").write_text(json.dumps(model, indent=2) + "\n")
    steps = pairs // given.batch_size

    with Progress() as progress:

        def run_for(epochs: int, logs: Path, what: str) -> list[float]:
            length = {"epochs": epochs, "warmup": max(1, epochs * steps // 20), "logs": logs}
            row = progress.add_task(f"{what}, {steps} steps an epoch", total=epochs)
            return run(
                [*settings(given), *words(length)],
                lambda done: progress.update(row, completed=done),
            )

        if (epochs := given.epochs) is None:
            with TemporaryDirectory() as logs:
                timed = run_for(TIMED, Path(logs), "timing")[1:-1]
            epochs = max(1, round(60 * given.minutes * len(timed) / sum(timed)))
        taken = run_for(epochs, given.out, "training")
    keep_weights(given.out, given.out / "log" / "checkpoints" / f"epoch_{epochs}.pt")
    return epochs, sum(taken) / 60


def keep_weights(folder: Path, checkpoint: Path) -> None:
    """The weights of a checkpoint beside the settings of their model; nothing else of it stays."""
    network: Any = open_clip.create_model(f"local-dir:{folder}")
    open_clip.load_checkpoint(network, str(checkpoint), weights_only=True)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    checkpoint.unlink()


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    built = argparse.ArgumentParser(
        prog="python -m eval.baselines.clip", description="Trains a CLIP by open_clip's program."
    )
    built.add_argument("--preset", default="demo", choices=sorted(PRESETS), help="whose sizes")
    built.add_argument("--data", default="data/sample", help="folder of shards: train, test, new")
    built.add_argument("--out", type=Path, default=Path("runs/clip"), help="folder that it fills")
    length = built.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=float, default=25.0, help="of CPU time, of training alone"
    )
    length.add_argument("--epochs", type=int, help="instead, to repeat a run")
    built.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    built.add_argument("--batch-size", type=int, default=128)
    built.add_argument("--lr", type=float, default=1e-3)
    built.add_argument("--wd", type=float, default=0.1, help="weight decay")
    built.add_argument("--crop", action="store_true", help="augment as open_clip does by default")
    built.add_argument("--seed", type=int, default=0)
    return built


def main() -> None:
    """Trains, and measures what was trained."""
    built = parser()
    given = built.parse_args()
    for name in ("minutes", "epochs", "threads", "batch_size", "lr"):
        if (value := getattr(given, name)) is not None and value <= 0:
            built.error(f"--{name.replace('_', '-')} must be above 0, got {value}")
    torch.set_num_threads(given.threads)
    logging.root.setLevel(logging.ERROR)  # open_clip warns of every network that has no weights yet
    try:
        epochs, minutes = train_for(given)
    except (ValueError, OSError) as error:
        sys.exit(f"{built.prog}: {error}")
    print(f"{epochs} epochs in {minutes:.2f} CPU minutes, {given.threads} threads")
    told = [f"open_clip:local-dir:{given.out}", "retrieval"]
    told += ["--data", given.data, "--out", str(given.out)]
    print("python -m eval.run", *told, flush=True)
    measure(told)


if __name__ == "__main__":
    main()
