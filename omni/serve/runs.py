"""What lies in the folders of runs: how far they are, their curves, samples and reports."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omni.training.manifest import folder_name

POINTS = 200
"""of a curve at most"""
SHOWN = (".png", ".wav")
"""endings of what a run makes to be looked at and listened to"""


def runs(root: Path) -> list[dict[str, Any]]:
    """All runs below a folder, the one that went on last first: name, step, time."""
    found = []
    for path in root.glob("*/metrics.jsonl"):
        last = next(_rows(path, 1), {})
        told = {"name": path.parent.name, "step": last.get("step", 0)}
        report = (path.parent / "report.html").is_file()
        found.append(told | {"time": path.stat().st_mtime, "report": report})
    return sorted(found, key=lambda run: -run["time"])


def run(root: Path, name: str) -> dict[str, Any] | None:
    """One of them, with its curves by name ([step, value] each) and the samples of each preview."""
    told = next((one for one in runs(root) if one["name"] == name), None)
    if told is None:
        return None
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in _rows(root / name / "metrics.jsonl", POINTS):
        for what, value in row.items():
            if isinstance(value, int | float) and what != "step" and not what.startswith("norm"):
                curves.setdefault(what, []).append((row["step"], value))
    return told | {"curves": curves, "samples": [*samples(root / name)]}


def samples(folder: Path) -> Iterator[dict[str, Any]]:
    """What a run made of the same things at each of its previews, the newest first."""
    for preview in sorted((folder / "preview").glob("step-*"), reverse=True):
        files = sorted(path.name for path in preview.iterdir() if path.suffix in SHOWN)
        step = int(preview.name.removeprefix("step-"))
        captions = preview / "captions.txt"
        words = captions.read_text().splitlines() if captions.is_file() else []
        yield {"step": step, "files": files, "captions": words}


def sample(root: Path, name: str, step: int, file: str) -> Path | None:
    """The file of a sample, if there is such a one."""
    known = run(root, name) or {"samples": []}
    for made in known["samples"]:
        if made["step"] == step and file in made["files"]:
            return root / name / "preview" / folder_name(step) / file
    return None


def _rows(path: Path, count: int) -> Iterator[dict[str, Any]]:
    """At most so many lines of a log, evenly, the last among them."""
    lines = path.read_bytes().splitlines()
    some = lines[:: -max(1, -(-len(lines) // count))][::-1]
    for line in some:
        try:
            row = json.loads(line)
        except ValueError:  # half a line, of a run that is at work or was killed
            continue
        if isinstance(row, dict) and "step" in row:
            yield row
