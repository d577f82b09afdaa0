"""A path means what is there, as it is written; patterns and braces come after."""

from pathlib import Path

import pytest

from omni.pipeline.dataset import Dataset
from omni.pipeline.files import match_files
from tests.pipeline.shards import write_data

TARS = ["train-000000.tar", "train-000001.tar", "train-000002.tar"]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Shards in a folder whose name looks like patterns."""
    return write_data(tmp_path / "[v1] {a,b} set*?", (3, 3, 3))


MEANT = {
    "the folder": ("", 9),
    "a file": (TARS[1], 3),
    "a pattern": ("*.tar", 9),
    "a set": ("train-00000[01].tar", 6),
    "a range": ("train-{000000..000001}.tar", 6),
    "a range of one": ("train-{000002..000002}.tar", 3),
    "a list": ("train-00000{0,2}.tar", 6),
    "braces and stars": ("{train,train}-*2.tar", 6),
}


@pytest.mark.parametrize(("name", "count"), MEANT.values(), ids=MEANT)
@pytest.mark.parametrize("relative", [False, True])
def test_a_path_means_what_is_there(odd, name, count, relative, monkeypatch):
    monkeypatch.chdir(odd.parent)
    path = Path(odd.name if relative else odd) / name
    assert len(Dataset(str(path))) == count


@pytest.mark.parametrize("name", ["[0].tar", "a{0..2}.tar", "x*.tar", "{a,b}.tar", "a{.tar"])
def test_a_file_that_looks_like_a_pattern_is_that_file(odd, name):
    (odd / TARS[0]).rename(odd / name)
    (odd / TARS[0]).with_suffix(".idx").unlink()
    assert match_files(str(odd / name)) == [odd / name]
    assert len(Dataset(str(odd / name))) == 3


NOT_THERE = {
    "a file": ("nothing.tar", "no such shards"),
    "a pattern": ("nothing-*.tar", "no such shards"),
    "a part of a range": ("train-{000000..000003}.tar", "no such file: .*train-000003.tar"),
    "an open brace": ("train-{000000..", "braces must be closed"),
}


@pytest.mark.parametrize(("name", "rule"), NOT_THERE.values(), ids=NOT_THERE)
def test_what_is_not_there_is_named(odd, name, rule):
    with pytest.raises(ValueError, match=rule):
        Dataset(str(odd / name))
