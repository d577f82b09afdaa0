"""The README is short, and what it says is so."""

import re
from pathlib import Path

import pytest

from omni.pipeline.dataset import Dataset
from omni.pipeline.sample import read_texts

MAX_LINES = 150
MAX_WIDTH = 120
MIN_MAPPED = 10  # a map shorter than this was not found
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str | None = None) -> list[str]:
    """The fenced blocks, of one language or of all."""
    return [body for tag, body in FENCE.findall(text) if language in (None, tag)]


def mapped(text: str) -> list[str]:
    """Paths of the annotated tree: the block in which a line begins with `omni/`.

    A line is a name, two spaces and what it is; indentation (or the usual lines of a drawn tree)
    says which folder a name lies in. A line that goes on with an annotation names nothing.
    """
    tree = next((b for b in blocks(text) if re.search(r"^\W*omni/(\s|$)", b, re.MULTILINE)), "")
    paths, folders = [], {}
    for line in re.sub("[│├└─]", " ", tree).splitlines():
        entry = re.fullmatch(r"(\s*)([\w.][\w./-]*)(\s{2,}\S.*)?\s*", line)
        if entry is None:
            continue
        column, name = len(entry[1]), entry[2]
        folders = {at: folder for at, folder in folders.items() if at < column}
        paths.append("".join(folders.values()) + name)
        if name.endswith("/"):
            folders[column] = name
    return paths


def make_targets(text: str) -> set[str]:
    """Targets of `make X`, in code only: in prose, one makes sure."""
    code = [*blocks(text), *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]
    target = re.compile(r"(?:^|^\$ |&& )make ([a-z][\w-]*)", re.MULTILINE)
    return {name for block in code for name in target.findall(block)}


def links(text: str) -> set[str]:
    """Targets of links and pictures inside the repository."""
    targets = re.findall(r"\]\(([^)\s#]+)|src=\"([^\"#]+)\"", FENCE.sub("", text))
    return {a or b for a, b in targets if not re.match(r"[a-z]+:", a or b)}


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text("utf-8")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """The root seen through links: what is there can be read, what is new stays out of it."""
    for entry in root.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def test_the_code_runs(readme, checkout, tiny_run, monkeypatch):
    monkeypatch.setenv("OMNI_MODEL", str(tiny_run))
    monkeypatch.chdir(checkout)
    code = blocks(readme, "python")
    assert code, "README.md shows no python"
    namespace = {"__name__": "readme"}
    for number, block in enumerate(code, 1):
        exec(compile(block, f"README.md, python block {number}", "exec"), namespace)


def test_the_names_are_those_that_the_demo_learns(readme, root):
    """A text between quotes that could be a name is one; "image" is not, nor is a question."""
    shown = blocks(readme, "python") + blocks(readme, "sh")
    quoted = {name for block in shown for name in re.findall(r'"([a-z]+ [a-z]+)"', block)}
    assert quoted
    samples = read_texts(Dataset(str(root / "data/sample"), "train"))
    assert quoted <= {name for sample in samples for name in sample.texts.get("en", [])}


def test_it_is_short(readme):
    lines = readme.splitlines()
    assert len(lines) <= MAX_LINES
    assert [line for line in lines if len(line) > MAX_WIDTH] == []


def test_every_path_of_the_map_exists(readme, root):
    paths = mapped(readme)
    assert len(paths) >= MIN_MAPPED
    assert [path for path in paths if not (root / path).exists()] == []


def test_every_link_leads_to_a_file(readme, root):
    assert [target for target in links(readme) if not (root / target).exists()] == []


def test_every_make_target_exists(readme, root):
    makefile = (root / "Makefile").read_text("utf-8")
    assert make_targets(readme) <= set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))


EXAMPLE = """One makes sure: run `make demo`.

![picture](docs/picture.png) and [a page](https://example.org/page)

```sh
make test   # then
```

```python
x = 1
```

```
train.py           the loop
omni/              the library
  nn/              layers, of which
                   there are few
    mlp.py         one
  network.py       all
eval/              benchmarks
```
"""


def test_the_example_is_understood():
    assert blocks(EXAMPLE, "python") == ["x = 1\n"]
    assert make_targets(EXAMPLE) == {"demo", "test"}
    assert links(EXAMPLE) == {"docs/picture.png"}
    assert mapped(EXAMPLE) == [
        "train.py",
        "omni/",
        "omni/nn/",
        "omni/nn/mlp.py",
        "omni/network.py",
        "eval/",
    ]
    drawn = EXAMPLE.replace("  nn/", "├── nn/").replace("    mlp.py", "│   └── mlp.py")
    drawn = drawn.replace("  network.py", "└── network.py")
    assert mapped(drawn) == mapped(EXAMPLE)
