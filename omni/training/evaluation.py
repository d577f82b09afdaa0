"""A run that measures itself: the evaluation of a checkpoint, in a process of its own.

The benchmarks are programs above this package, so they are started and not imported; what they find
is a figure of the step, as any loss.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from omni.config import Config
from omni.training.manifest import folder_name

ROOT = Path(__file__).resolve().parents[2]
"""the checkout, of which `eval` is a part"""
LAUNCHER = ("TORCHELASTIC_", "MASTER_", "GROUP_", "ROLE_", "LOCAL_")
"""of torchrun's variables, by which the evaluation would take itself for one of the ranks"""
DEPTHS = ("R@5", "R@10", "median_rank", "mean_recall", "mAP@10")
"""what R@1 stands for among the curves"""
LOOK = 0.2
"""seconds between looks at whether the run is to stop"""
CONTROLS = ("untrained", "shuffled", "chance", "real")


def evaluate(
    run: Path, step: int, config: Config, stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """Figures of the run's checkpoint after `step` steps; they are in RUN/evaluations too.

    What has been measured before is not measured again. Nothing is found, and it is said why, where
    the evaluation fails: it must not end the run. It ends when the run is to `stop`.
    """
    c, folder = config.evaluate, run / "evaluations" / folder_name(step)
    results = folder / "results.json"
    if not results.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["-m", "eval.run", str(run.resolve()), *c.tasks, "--step", str(step)]
        data = Path(c.data or config.data.path[0]).resolve()
        command += ["--data", str(data), "--limit", str(c.limit)]
        ours = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER)}
        alone = {k: v for k, v in ours.items() if k not in ("RANK", "WORLD_SIZE")}
        with (folder / "output.txt").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=alone, stdout=output, stderr=output
            )
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK)
                if stop():
                    process.kill()
        if process.returncode:
            told = (folder / "output.txt").read_text().strip().splitlines()[-1:]
            why = "the run was told to stop" if stop() else " ".join(told)
            print(f"{run}: not evaluated at step {step}: {why}", file=sys.stderr)
            return {}
    found = json.loads(results.read_text())["results"]
    return {name: score["value"] for name, score in found.items() if is_shown(name)}


def is_shown(name: str) -> bool:
    """Whether a figure is a curve: of the model itself, and not of those that R@1 stands for."""
    return name.split("/")[0] not in CONTROLS and name.rsplit("/", 1)[-1] not in DEPTHS
