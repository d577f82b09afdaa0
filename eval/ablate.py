"""What each objective is worth: `python -m eval.ablate [PRESET [OBJECTIVE ...]] [--minutes M]`.

Trains the preset as it is and once for each objective with its weight changed (off where it is on,
on where it is off), all for the same time: how many steps that makes is measured first, of all in
turns. Every command is printed, may be run by hand, and is skipped where its result is there
already. Writes runs/ablate/PRESET.md.
"""

import argparse
import json
import math
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import rich.box
import torch
from rich.console import Console
from rich.table import Table

from omni.config import Config, LossConfig
from omni.device import pick_device, pick_threads
from omni.presets import PRESETS
from omni.training.pace import compare_steps

FOLDER = Path("runs/ablate")
TASKS = ("retrieval", "match", "caption", "transcribe")
NOT_OBJECTIVES = {"memory", "pairs", "word_dropout"}
SWITCHED_ON = 0.25
"""weight of an objective that is off in the preset"""
FIGURES = {
    "image→text": "test/retrieval/image->text/R@1",
    "text→image": "test/retrieval/text->image/R@1",
    "reranked i→t": "test/retrieval/reranked image->text/R@1",
    "audio→text": "test/retrieval/audio->text/R@1",
    "image→audio": "test/retrieval/image->audio/R@1",
    "noisy+image→text": "new/retrieval/noisy audio+image->text/R@1",
    "image+text→audio": "new/retrieval/image+text->audio/R@1",
    "five-way": "test/match/image+audio+text->class/accuracy",
    "caption": "test/caption/image->text/exact",
    "CER": "test/transcribe/audio->text/CER",
}


def variants(config: Config, chosen: list[str]) -> dict[str, float | None]:
    """The objectives and the weights they get instead; first none, the preset as it is.

    Raises `ValueError` for what is no objective.
    """
    known = [f.name for f in fields(LossConfig) if f.name not in NOT_OBJECTIVES]
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"objective must be of {', '.join(known)}; got {unknown[0]!r}")
    weights = {name: getattr(config.loss, name) for name in chosen or known}
    return {"": None} | {name: 0.0 if w else SWITCHED_ON for name, w in weights.items()}


def changed(config: Config, objective: str, weight: float | None) -> Config:
    """The run with one weight changed."""
    if weight is None:
        return config
    return replace(config, loss=replace(config.loss, **{objective: weight}))


def costs(preset: str, weights: dict[str, float | None]) -> dict[str, tuple[float, float]]:
    """Seconds and FLOPs of a step of each run; what was measured once is not measured again.

    What is new is measured beside the whole preset, and its time told in proportion to that.
    """
    path = FOLDER / f"{preset}-costs.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if missing := [name for name in weights if name not in known]:
        config, names = PRESETS[preset](), ["", *(name for name in missing if name)]
        configs = [changed(config, name, weights[name]) for name in names]
        found = compare_steps(configs, pick_device(config.train.device))
        scale = known.get("", found[0])[0] / found[0][0]
        known |= {name: (scale * s, flops) for name, (s, flops) in zip(names, found, strict=True)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=2))
    return known


def run(preset: str, steps: int, objective: str, weight: float | None) -> Path:
    """The folder of a run of so many steps, trained and measured."""
    name = f"ablate/{preset}-{objective or 'whole'}"
    folder, flags = Path("runs") / name, []
    if weight is not None:
        flags = [f"--loss.{objective.replace('_', '-')}", str(weight)]
    if not (folder / "results.json").exists():
        count = ["--train.steps", str(steps)]
        train = ["train.py", preset, "--name", name, *count, *flags, "--train.sample-every", "0"]
        for command in ([*train, "--resume"], ["-m", "eval.run", str(folder), *TASKS]):
            print("python", *command, flush=True)
            subprocess.run([sys.executable, *command], check=True)
    return folder


def figures(folder: Path) -> list[float]:
    """The figures of a run, in the order of `FIGURES`; not a number where it has none."""
    results = json.loads((folder / "results.json").read_text())["results"]
    return [results.get(name, {"value": math.nan})["value"] for name in FIGURES.values()]


def table(rows: dict[str, tuple[list[str], list[float]]]) -> Table:
    """Each run's figures, in percent, and below those of the whole the differences to them.

    What the whole has no figure of, such as of an objective that is off, is told itself.
    """
    built = Table(box=rich.box.MARKDOWN)
    for head in ("", "s a step", "GFLOP a step", "steps", *FIGURES):
        built.add_column(head, justify="right")
    whole = next(iter(rows.values()))[1]
    for name, (told, values) in rows.items():
        cells = [
            cell(v, None if values is whole else w) for v, w in zip(values, whole, strict=True)
        ]
        built.add_row(name, *told, *cells)
    return built


def cell(value: float, whole: float | None) -> str:
    """A figure, or how far it is from that of the whole."""
    if math.isnan(value):
        return ""
    if whole is None or math.isnan(whole):
        return f"{100 * value:.1f}"
    return f"{100 * (value - whole):+.1f}"


def main() -> None:
    """Trains, measures, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m eval.ablate", description=__doc__)
    parser.add_argument("preset", nargs="?", default="demo", choices=sorted(PRESETS))
    parser.add_argument("objectives", nargs="*", help="fields of LossConfig; all")
    parser.add_argument("--minutes", type=float, default=22.0, help="of training, each")
    given = parser.parse_args()
    torch.set_num_threads(pick_threads())
    rows = {}
    try:
        weights = variants(PRESETS[given.preset](), given.objectives)
        cost = costs(given.preset, weights)
        for objective, weight in weights.items():
            seconds, flops = cost[objective]
            steps = max(2, round(60 * given.minutes / seconds))
            folder = run(given.preset, steps, objective, weight)
            label = "all" if weight is None else f"{objective} {weight:g}"
            told = [f"{seconds:.2f}", f"{flops / 1e9:.0f}", str(steps)]
            rows[label] = told, figures(folder)
    except ValueError as error:
        parser.error(str(error))
    with (FOLDER / f"{given.preset}.md").open("w") as file:
        Console(file=file, width=200).print(table(rows))
    Console(width=200).print(table(rows))


if __name__ == "__main__":
    main()
