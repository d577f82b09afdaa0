"""What eval/README.md says is so: its task, word for word, and the names in its commands."""

import re
from pathlib import Path

import pytest

from eval.bench import Bench
from eval.corpus import Corpus
from eval.table import NAME
from eval.tasks import KNOWN
from omni import Omni

TEXT = (Path(__file__).parents[2] / "eval/README.md").read_text()


@pytest.fixture
def task() -> dict:
    """The module that the page shows."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 40
    module: dict = {}
    exec(compile(code, "eval/README.md", "exec"), module)
    return module


def test_the_task_of_the_page_works(task, tiny_model: Omni, corpus: Corpus, tmp_path) -> None:
    bench = Bench(tiny_model, tiny_model.untrained(), corpus, tmp_path)
    results = dict(task["styles"](bench))
    assert all(NAME.fullmatch(name) for name in results)
    score = results["new/styles/image->image/R@1"]
    assert (score.n, score.gallery) == (24, 24) and bench.protocol.task == "styles"
    assert "untrained/new/styles/image->image/mAP@10" in results
    # The same pictures on both sides: each finds itself.
    corpus_of_one = Corpus(corpus.path)
    corpus_of_one.gallery = lambda split: corpus.gallery("test")
    same = dict(task["styles"](Bench(tiny_model, tiny_model, corpus_of_one, tmp_path)))
    assert same["new/styles/image->image/R@1"].value == 1


def test_every_task_is_on_the_page() -> None:
    named = {word for cell in re.findall(r"`([a-z0-9 ]+)`", TEXT) for word in cell.split()}
    assert KNOWN.keys() <= named
