"""Fixtures of the loader's tests: shards, a tokenizer, damage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from omni.modality.text import Tokenizer
from omni.pipeline.dataset import open_index
from tests.pipeline.shards import write_data


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept between tests, nor in the user's cache."""
    monkeypatch.setenv("OMNI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["sample one two three " * 4], ["en"], 300)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """47 samples in three shards, of five sets of senses."""
    return write_data(tmp_path / "data")


@pytest.fixture
def damage() -> Callable[[Path, int, str], None]:
    """A function that turns over one byte in the middle of a member of a sample of a shard."""

    def turn_over(tar: Path, row: int, extension: str) -> None:
        member = next(m for m in open_index(tar).members(row) if m.extension == extension)
        content = bytearray(tar.read_bytes())
        content[member.offset + member.size // 2] ^= 0xFF
        tar.write_bytes(content)

    return turn_over
