"""What a figure was measured with: all that another must share to be compared with it.

A run states its data, code and weights once (`meta` of results.json), a task what holds for all of
its figures (`meta.protocols`), a figure its queries, gallery, seed and any condition of its own.
"""

import inspect
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omni import Omni

BEAMS = "beam, of the candidates the best by decoder and contrast"
RUN = ("data", "interval")
"""fields of `meta` that are part of the protocol of each figure"""
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Protocol:
    """What a task says of all its figures; what does not apply is empty.

    Attributes:
        task: what it is told under; a task that is made of others is told under theirs.
        references: right answers of an item, and how they count.
        templates: prompts around a name, {} standing for it.
        normalizer: what is done to texts before they are compared.
        decoding: settings of what is generated.
        judge: network and weights (sha256) that judge what was made, or whose features do.
        judge_real: what it scores on real items, by split; told, not compared.
        limit: at most so many items, chosen by the seed.
    """

    task: str = ""
    references: str = ""
    templates: tuple[str, ...] = ()
    normalizer: str = ""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    judge: str = ""
    judge_real: Mapping[str, float] = field(default_factory=dict)
    limit: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that are not empty, but the task."""
        told = {name: value for name, value in asdict(self).items() if name != "task"}
        return {name: value for name, value in told.items() if value not in ("", (), {}, None)}


def settings(*names: str) -> dict[str, Any]:
    """Those of `Omni.generate` that a task leaves as they are."""
    known = inspect.signature(Omni.generate).parameters
    return {name: known[name].default for name in names}


def card(results: Mapping, name: str) -> dict[str, Any]:
    """The whole protocol of one figure of a results.json, field by field."""
    meta, score = results["meta"], results["results"][name]
    told = {field: meta[field] for field in RUN} | meta["protocols"][score["task"]]
    told.pop("judge_real", None)
    condition = {"condition": score["protocol"]} if "protocol" in score else {}
    return told | {field: score[field] for field in ("n", "gallery", "seed")} | condition


def lines(meta: Mapping) -> Iterator[tuple[str, str]]:
    """What the run and each of its tasks state, in words: who states it, and what."""
    run = {field: meta[field] for field in ("model", "weights", "commit", *RUN, "seed")}
    for name, fields in {"all": run, **meta["protocols"]}.items():
        yield name, "; ".join(f"{field}: {words(value)}" for field, value in fields.items())


def words(value: Any) -> str:
    """A value of a field, to be read."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(repr(one) for one in value)
    return f"{value:.3f}" if isinstance(value, float) and value != round(value, 1) else f"{value}"


def commit(root: Path = ROOT) -> str:
    """`git describe` of the checkout, with -dirty where files differ; unknown without one."""
    if not (root / ".git").exists():  # git would ask the folders above
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
