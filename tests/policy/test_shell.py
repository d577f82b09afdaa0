"""Every shell line of the documents, the docstrings and --help does what it says."""

import argparse
import re
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

import data.prepare.__main__
import eval.command
import eval.muge
from omni.command import _parser
from tests.policy import lines, shell, stage
from tests.policy.lines import Line

ROOT = Path(__file__).resolve().parents[2]
CHECKED = {
    r"git clone |cd omni$": "a network",
    r"make ": "installs, trains and measures for most of an hour",
    r"pip (install|download) ": "a network",
    r"pytest$": "these very tests",
    r"apt-get |dpkg-deb |npm ": "programs of others, and a network",
    r"for wheel in |python - <<'END'": "weights of others",
    r".* --(vocoder|model\.\w+\.pretrained) ": "weights of others",
    r"python train\.py .* s3://": "a bucket",
    r"python train\.py stamps$|.* --recipe (stamps|muge)\b": "a data set that is not here",
    r"python -m data\.emoji ": "packages of npm",
    r"python -m eval\.muge (retrieve|caption|draw)": "a data set that is not here",
    r"\(cd data/sample": "the checkout; tests/data/test_emoji.py compares the sums",
    r"python -m eval\.(ablate|baselines|scale)": "minutes to hours",
    r"omni .* milvus:": "a server",
    r"serve run ": "a cluster of Ray",
}
"""beginnings of lines that cannot be run here, and what they need; what can be checked of them is:
that their arguments are understood, that extras and targets are there"""
NEEDS = {
    r"eval\.run": "eval",
    r"data\.prepare": "data",
    r"omni serve": "serve",
    r"omni mcp": "mcp",
    r"\.mp4": "video",
}
"""commands of the README, and the extra without which they only say what to install"""


@cache
def documents() -> list[Line]:
    return lines.documents(ROOT)


def names() -> list[str]:
    return sorted({line.document.split("/")[0] for line in documents()})


def reason(line: str) -> str | None:
    return next((pattern for pattern in CHECKED if re.match(pattern, line)), None)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For models this small a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage, with an index and results that lines of other documents make."""
    folder = tmp_path_factory.mktemp("stage")
    with pytest.MonkeyPatch.context() as patch:
        shell.stand_ins(patch, folder)
        stage.build(folder)
        for line in (
            "omni index build things pictures/",
            "python -m eval.run RUN --out A",
            "python -m eval.run RUN --out B",
        ):
            assert shell.run(line, folder) == ""
    return folder


@pytest.fixture
def place(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stage of its own."""
    folder = tmp_path / "stage"
    shutil.copytree(built, folder, symlinks=True)
    shell.stand_ins(monkeypatch, folder)
    return folder


def is_name(line: Line) -> bool:
    """Whether a sentence names a command, and does not say with what it is to be run."""
    known = r"omni( [a-z]+){1,2}|python -m omni|python -m [\w.]+( [a-z]+)?|python train\.py"
    return line.inline and re.fullmatch(known, line.text) is not None


def fault(line: Line, folder: Path) -> str:
    """What is wrong with a line."""
    text = line.text
    if text.startswith("pip install"):
        return ", ".join(sorted(extras(text) - known_extras()))
    if target := re.search(r"\bmake (\S+)$", text):
        makefile = (ROOT / "Makefile").read_text("utf-8")
        return "" if re.search(rf"^{target[1]}:", makefile, re.MULTILINE) else "no such target"
    if is_name(line) and " bench " not in text:
        return shell.run(f"{text} --help", folder)
    if reason(text):
        is_ours = re.match(r"omni|python (-m|train)", text)
        return shell.run(text, folder, only_parse=True) if is_ours else ""
    return shell.run(text, folder)


def extras(line: str) -> set[str]:
    return {name for names in re.findall(r"\[([\w,]+)\]", line) for name in names.split(",")}


def known_extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {*project["optional-dependencies"]}


@pytest.mark.parametrize("name", names())
def test_every_line_works(name: str, place: Path) -> None:
    faults = {}
    for line in dict.fromkeys(documents()):
        if line.document.split("/")[0] == name and (wrong := fault(line, place)):
            faults[line] = wrong
    assert faults == {}


def test_every_page_is_read() -> None:
    pages = ["README.md", "data/README.md", "eval/README.md"]
    pages += [f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")]
    read = {line.document for line in documents()}
    silent = [page for page in pages if page not in read | lines.RECORDS]
    # A page without a command is none of those that should have been read.
    assert [page for page in silent if "```sh" in (ROOT / page).read_text("utf-8")] == []


def test_every_reason_is_of_a_line() -> None:
    used = {reason(line.text) for line in documents()}
    assert [pattern for pattern in CHECKED if pattern not in used] == []


def test_what_the_readme_installs_is_what_it_shows() -> None:
    readme = [line for line in documents() if line.document == "README.md" and not line.inline]
    (installed, *_) = (extras(line.text) for line in readme if line.text.startswith("pip install"))
    for pattern, extra in NEEDS.items():
        assert any(re.search(pattern, line.text) for line in readme), pattern
        assert extra in installed


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("omni search --gallery pictures/", "the following arguments are required"),
        ("omni embed nowhere.png", "nowhere.png: no such file"),
        ("omni paint picture.png", "invalid choice"),
        ("python train.py demo --train.pace 3", "status 2"),
        ("python train.py demo --data.path nowhere", "no such shards"),
        ("python -m eval.run RUN singing", "task must be one of"),
        ("python -m eval.scale --speed 2", "unrecognized arguments"),
        ("torchrun --nproc-per-node 8 train.py base --train.mesh 3 1 1", "must multiply"),
        ("pip install -e '.[evil]'", "evil"),
        ("make coffee", "no such target"),
        ("curl https://example.org", "must be named in CHECKED"),
    ],
)
def test_a_line_that_does_not_work_is_caught(text: str, wrong: str, place: Path) -> None:
    assert wrong in fault(Line("page.md", text), place)


EXAMPLE = """Run `omni draw` or `omni caption
a.png`, not `omni.read` nor `pictures/`; `python -m omni bench step | index`.

```sh
omni speak "a; b" && omni ask "c # d" *.png   # then
python train.py demo \\
    --resume
```

```python
omni = 1
```
"""


def test_the_example_is_understood() -> None:
    assert [(line.text, line.inline) for line in lines.page("page.md", EXAMPLE)] == [
        ('omni speak "a; b"', False),
        ('omni ask "c # d" *.png', False),
        ("python train.py demo --resume", False),
        ("omni draw", True),
        ("omni caption a.png", True),
        ("python -m omni bench step", True),
        ("python -m omni bench index", True),
    ]
    assert lines.alternatives("eval [RUN [TASK ...]] [--limit N]") == [
        "eval",
        "eval --limit N",
        "eval RUN",
        "eval RUN --limit N",
        "eval RUN TASK",
        "eval RUN TASK --limit N",
    ]


def values(action: argparse.Action) -> list[str]:
    """What may stand for one argument, and twice that where any number may."""
    value = str(next(iter(action.choices))) if action.choices else "1"
    return [] if action.nargs == 0 else [value] * (2 if action.nargs in ("+", "*") else 1)


def printed(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    """Yield arguments in the order of the usage line, each option once as the last of them."""
    positionals = [word for a in parser._actions if not a.option_strings for word in values(a)]
    options = [a for a in parser._actions if a.option_strings and a.dest != "help"]
    needed = [[a.option_strings[0], *values(a)] for a in options if a.required]
    for action in options:
        again = 2 if isinstance(action, argparse._AppendAction) else 1
        words = [action.option_strings[0], *values(action)] * again
        before = [word for option in needed for word in option if option[0] != words[0]]
        if parser.usage:  # written by hand
            yield [*before, *positionals, *words]
        else:
            yield [*before, *words, *positionals]


def leaves() -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands that take arguments of their own."""
    for name in data.prepare.__main__.COMMANDS:
        parser = argparse.ArgumentParser(f"python -m data.prepare {name}")
        data.prepare.__main__.load(name).add_arguments(parser)
        yield parser
    yield eval.command.parser()
    for parser in (*lines.parsers(_parser()), *lines.parsers(eval.muge.parser())):
        if not any(isinstance(a, argparse._SubParsersAction) for a in parser._actions):
            yield parser


@pytest.mark.parametrize("parser", [*leaves()], ids=lambda parser: parser.prog)
def test_arguments_in_the_order_of_the_usage_are_understood(
    parser: argparse.ArgumentParser,
) -> None:
    orders = list(printed(parser))
    assert orders or parser.prog.endswith(("delete", "optimize", "score"))
    for words in orders:
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"{parser.prog} {' '.join(words)}")
