"""A small corpus of real samples, cut from the shards of the repository."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.bench import Bench
from eval.corpus import Corpus
from eval.metrics import Score
from eval.shards import Shards
from eval.table import NAME
from omni import Omni
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.presets import debug

CONCEPTS = 24


def read_shards(folder: Path, split: str) -> dict[str, dict[str, bytes]]:
    """Each sample's members by extension."""
    samples: dict[str, dict[str, bytes]] = {}
    for shard in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, extension = member.name.split(".", 1)
                samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return samples


def write_shard(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, members in samples.items():
            for extension, data in members.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All samples of some concepts, a few of them unseen, as shards of their own."""
    source = Path(__file__).parents[2] / "data" / "sample"
    folder = tmp_path_factory.mktemp("shards")
    splits = {split: read_shards(source, split) for split in ("train", "test", "new")}
    about = {
        key: json.loads(m["json"]) for samples in splits.values() for key, m in samples.items()
    }
    unseen = [about[key]["concept"] for key in splits["test"] if about[key].get("unseen")][:4]
    seen = [about[key]["concept"] for key in splits["test"] if not about[key].get("unseen")]
    chosen = {*unseen, *seen[: CONCEPTS - len(unseen)]}
    for split, samples in splits.items():
        kept = {key: m for key, m in samples.items() if about[key]["concept"] in chosen}
        write_shard(folder / f"{split}-000000.tar", kept)
    return folder


@pytest.fixture(scope="session")
def corpus(small_data: Path) -> Corpus:
    return Corpus(small_data)


@pytest.fixture(scope="session")
def fresh() -> Omni:
    """A model of the debug preset that has learned nothing."""
    config = debug()
    tokenizer = Tokenizer.train(["a cow, 裙"], ("en", "zh"), 300)
    torch.manual_seed(0)
    return Omni(Network(config.model, tokenizer), tokenizer, config, "cpu")


@pytest.fixture
def measure(fresh: Omni, tmp_path: Path) -> Callable[..., dict[str, Score]]:
    """A function from shards and a task to its figures, by the fresh model unless another."""

    def measured(
        data: Path, task: Callable, split: str | None = None, model: Any = fresh, limit: int = 4
    ) -> dict[str, Score]:
        def note(text: str) -> None:
            pass

        shards = Shards(data, split)
        bench = Bench(model, fresh.untrained(1), shards, tmp_path, limit=limit, note=note)
        results = dict(task(bench))
        assert all(NAME.fullmatch(name) for name in results)
        return results

    return measured
