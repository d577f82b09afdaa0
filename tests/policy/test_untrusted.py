"""Nothing that is read is run: no unpickling, no eval, no code that comes with a checkpoint."""

import ast

import pytest

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "torch.serialization.load", "torch.hub.load"}
FORBIDDEN_FLAGS = {"allow_pickle", "trust_remote_code"}


def bindings(tree: ast.AST) -> dict[str, str]:
    """Map each imported name to what it stands for: `import numpy as np` -> np: numpy."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def called(function: ast.expr, names: dict[str, str]) -> str:
    """The dotted name that a call goes to; empty when it is no chain of names."""
    attributes = []
    while isinstance(function, ast.Attribute):
        attributes.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        return ""
    return ".".join([names.get(function.id, function.id), *reversed(attributes)])


def unsafe(path: str, source: str) -> list[str]:
    """Describe every import and call that can run what it reads."""
    tree = ast.parse(source)
    names = bindings(tree)
    faults = []
    for node in ast.walk(tree):
        found = set()
        if isinstance(node, ast.Import):
            found = {alias.name.split(".")[0] for alias in node.names} & UNPICKLERS
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = {node.module.split(".")[0]} & UNPICKLERS
        elif isinstance(node, ast.Call):
            flags = {k.arg for k in node.keywords if not is_false(k.value)}
            found = {called(node.func, names)} & FORBIDDEN_CALLS | flags & FORBIDDEN_FLAGS
        faults += [f"{path}:{node.lineno}: {name}" for name in sorted(found)]
    return faults


def is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_nothing_that_is_read_is_run(sources):
    assert [fault for path, source in sources.items() for fault in unsafe(path, source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def late():\n    from pickle import loads",
        "import torch\ntorch.load('a.pt', weights_only=True)",
        "import torch as t\nt.load('a.pt')",
        "from torch import load as read\nread('a.pt')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import numpy as np\nnp.load('a.npy', allow_pickle=flag)",
        "eval('1')",
        "exec('1')",
        "AutoModel.from_pretrained('a', trust_remote_code=True)",
    ],
)
def test_an_unsafe_line_is_caught(source):
    assert len(unsafe("a.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import json\njson.load(file)",
        "import omni\nomni.load('runs/demo')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=False)",
        "from safetensors.torch import load_file\nload_file('a.safetensors')",
        "from eval.run import main",
    ],
)
def test_a_safe_line_passes(source):
    assert unsafe("a.py", source) == []
