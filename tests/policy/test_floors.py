"""Imports point down, and what is imported from outside has one address, two or three."""

import ast
from collections.abc import Iterator

import pytest

# The lowest floor first; a name stands for the module and all below it. A module may import from
# lower floors, and from its own floor within its top-level package.
FLOORS = [
    [
        "omni.config",
        "omni.device",
        "omni.interrupt",
        "omni.journal",
        "omni.names",
        "omni.progress",
        "omni.validation",
    ],
    ["omni.batch"],
    ["omni.nn"],
    ["omni.objective", "omni.modality"],
    ["omni.network", "omni.pipeline"],
    [
        "omni.chunks",
        "omni.generate",
        "omni.items",
        "omni.keep",
        "omni.known",
        "omni.learned",
        "omni.lora",
        "omni.pretrained",
        "omni.presets",
        "omni.silence",
        "omni.training",
        "omni.warm",
    ],
    ["omni.encoding"],
    ["omni.interface", "omni.preview"],
    ["omni.search"],
    ["omni.serve", "omni.tools"],
    ["omni"],  # omni/__init__.py
    ["omni.verbs"],
    ["train", "data", "eval", "omni.__main__", "omni.bench", "omni.command"],
]
HEIGHTS = {name: height for height, names in enumerate(FLOORS) for name in names}
STRANGERS = [{"omni.network", "omni.pipeline"}]  # of one floor, and still not to be mixed

DISTRIBUTED = {"omni/training/parallel.py", "omni/training/slices.py", "eval/ranks.py"}
OUTSIDE = {"timm": 2, "transformers": 3, "torchaudio": 2, "webdataset": 2}
"""addresses of each: transformers builds (encoder), brings weights (tower) and speaks (vocoder)"""


def module_name(path: str) -> str:
    """omni/nn/mlp.py -> omni.nn.mlp, omni/__init__.py -> omni."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import, also within functions.

    `from a import b` yields a.b: whether b is a module cannot be seen, and need not be.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = path.split("/")[: -node.level] if node.level else []
            prefix = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield node.lineno, ".".join([*prefix, alias.name])


def room(name: str) -> str | None:
    """The entry of FLOORS that a dotted name falls under; None for what is not ours.

    Of `omni`, only names that the package itself defines (classes, functions) fall under `omni`:
    a module without a floor is found by `test_every_module_has_a_floor`.
    """
    parts = name.split(".")
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((candidate for candidate in candidates if candidate in HEIGHTS), None)


def upward_imports(sources: dict[str, str]) -> list[str]:
    """Describe every import that does not point down."""
    faults = []
    for path, source in sources.items():
        here = room(module_name(path))
        assert here is not None
        for line, name in imports(path, source):
            there = room(name)
            if there is None or there == here:
                continue
            same_package = there.split(".")[0] == here.split(".")[0]
            level = HEIGHTS[there] == HEIGHTS[here]
            allowed = same_package and {here, there} not in STRANGERS
            if HEIGHTS[there] > HEIGHTS[here] or (level and not allowed):
                faults.append(f"{path}:{line}: {here} must not import {name}")
    return faults


def floorless(sources: dict[str, str]) -> list[str]:
    """Modules of omni that no floor names: they would count as omni/__init__.py."""
    names = {path: module_name(path) for path in sources}
    return [path for path, name in names.items() if room(name) == "omni" and name != "omni"]


def uses_distributed(source: str) -> bool:
    """Whether torch.distributed is imported or reached as an attribute of torch."""
    reached = (
        isinstance(node, ast.Attribute)
        and node.attr == "distributed"
        and isinstance(node.value, ast.Name)
        and node.value.id == "torch"
        for node in ast.walk(ast.parse(source))
    )
    named = (f"{name}.".startswith("torch.distributed.") for _, name in imports("", source))
    return any(named) or any(reached)


def importers(sources: dict[str, str], package: str) -> set[str]:
    """Files of omni that import the outside package; what is compared with it may, of course."""
    return {
        path
        for path, source in sources.items()
        if path.startswith("omni/")
        and not path.startswith("omni/bench/")
        and any(name.split(".")[0] == package for _, name in imports(path, source))
    }


def test_every_module_has_a_floor(sources):
    assert floorless(sources) == []


def test_imports_point_down(sources):
    assert upward_imports(sources) == []


def test_torch_distributed_has_few_addresses(sources):
    assert {path for path, source in sources.items() if uses_distributed(source)} <= DISTRIBUTED


@pytest.mark.parametrize("package", OUTSIDE)
def test_an_outside_package_has_few_addresses(sources, package):
    assert len(importers(sources, package)) <= OUTSIDE[package], importers(sources, package)


def test_only_the_command_line_of_omni_imports_tyro(sources):
    assert importers(sources, "tyro") <= {"omni/command.py"}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("omni/nn/mlp.py", "import omni.network"),
        ("omni/nn/mlp.py", "from ..network import Network"),
        ("omni/nn/mlp.py", "from omni import Omni"),
        ("omni/nn/__init__.py", "from ..modality import image"),
        ("omni/batch.py", "def late():\n    from omni.objective.flow import loss"),
        ("omni/config.py", "from omni import batch"),
        ("omni/network.py", "from omni.pipeline.loader import Loader"),
        ("omni/pipeline/loader.py", "from omni import network"),
        ("omni/training/log.py", "import train"),
        ("omni/interface.py", "import omni"),
        ("omni/bench.py", "from eval import run"),
        ("omni/__init__.py", "from omni.bench import step"),
        ("data/prepare.py", "from eval.run import main"),
    ],
)
def test_an_upward_import_is_caught(path, line):
    assert len(upward_imports({path: line})) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("omni/nn/transformer.py", "from omni.nn.mlp import MLP"),
        ("omni/nn/transformer.py", "from .mlp import MLP"),
        ("omni/objective/flow.py", "from omni.modality.audio import mel"),
        ("omni/training/samples.py", "from omni.generate import sample"),
        ("omni/__init__.py", "from omni.interface import Omni, load"),
        ("omni/__main__.py", "from omni import bench, load"),
        ("omni/config.py", "import json"),
        ("train.py", "from omni import presets"),
        ("eval/run.py", "import omni\nfrom eval.tasks import caption"),
    ],
)
def test_a_downward_import_passes(path, line):
    assert upward_imports({path: line}) == []


def test_a_module_without_a_floor_is_caught():
    assert floorless({"omni/utils.py": "", "omni/__init__.py": "", "omni/nn/mlp.py": ""}) == [
        "omni/utils.py"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import torch.distributed as dist",
        "from torch import distributed",
        "from torch.distributed.fsdp import fully_shard",
        "import torch\ntorch.distributed.barrier()",
    ],
)
def test_torch_distributed_is_caught(line):
    assert uses_distributed(line)
    assert not uses_distributed("import torch\nfrom torch.distributions import Normal")
