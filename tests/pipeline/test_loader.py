"""Batches: a pure function of the step, every sample once an epoch, nothing invented."""

import io
import json
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omni.config import Config, DataConfig
from omni.modality.text import Tokenizer
from omni.pipeline.loader import WINDOW, Loader
from omni.pipeline.shards import read_samples
from omni.presets import debug

CONFIG: Config = debug()


@pytest.fixture(scope="module")
def loader() -> Loader:
    return Loader(replace(CONFIG.data, batch_size=48), seed=3)


@pytest.fixture(scope="module")
def tokenizer(loader: Loader) -> Tokenizer:
    return loader.learn_tokenizer(400)


def test_no_sample_comes_again_before_all_of_its_kind_have_come(loader: Loader) -> None:
    seen = Counter(index for step in range(3 * WINDOW) for index in loader.indices(step))
    kinds: dict[tuple[bool, ...], list[int]] = {}
    for index, s in enumerate(loader.samples):
        kind = (s.image is None, s.audio is None, s.text is None)
        kinds.setdefault(kind, []).append(seen[index])
    assert len(kinds) == 4
    assert all(max(counts) - min(counts) <= 1 for counts in kinds.values())


def test_batches_of_one_window_are_sorted_by_length(loader: Loader) -> None:
    lengths = [
        sorted(
            len(s.audio) for i in loader.indices(step) if (s := loader.samples[i]).audio is not None
        )
        for step in range(WINDOW)
    ]
    spread = [batch[-1] - batch[0] for batch in lengths]
    whole = max(batch[-1] for batch in lengths) - min(batch[0] for batch in lengths)
    assert sum(spread) / WINDOW < whole / 2


def test_any_step_can_be_asked_for_and_epochs_differ(loader: Loader, tokenizer: Tokenizer) -> None:
    again = Loader(replace(CONFIG.data, batch_size=48), seed=3)
    assert loader.indices(7) == again.indices(7)
    assert loader.indices(0) != loader.indices(80)
    model = CONFIG.model
    for step, batch in enumerate(loader.batches(5, 8, tokenizer, model), 5):
        alone = again.batch(step, tokenizer, model)
        for sense, part in batch.parts.items():
            assert torch.equal(part.data, alone.parts[sense].data)
            assert torch.equal(part.rows, alone.parts[sense].rows)


def test_a_missing_sense_is_absent_and_never_zeros(loader: Loader, tokenizer: Tokenizer) -> None:
    batch = loader.batch(0, tokenizer, CONFIG.model)
    samples = [loader.samples[i] for i in loader.indices(0)]
    for sense, values in (
        ("image", [s.image for s in samples]),
        ("audio", [s.audio for s in samples]),
        ("text", [s.text for s in samples]),
    ):
        present = [row for row, value in enumerate(values) if value is not None]
        assert 0 < len(present) < 48
        assert [row for row in batch.parts[sense].rows.tolist() if row < 48] == present
    # The rows after the samples are texts alone, drawn anew in every step.
    extra = {
        sense: [r for r in part.rows.tolist() if r >= 48] for sense, part in batch.parts.items()
    }
    assert not extra["image"] and not extra["audio"]
    assert batch.size == 48 + len(extra["text"]) > 48
    assert not torch.equal(batch.group[48:], loader.batch(1, tokenizer, CONFIG.model).group[48:])


def test_broken_pairs_are_broken(loader: Loader, tokenizer: Tokenizer) -> None:
    shuffled = Loader(replace(CONFIG.data, batch_size=48, shuffled=True), seed=3)
    rows = shuffled.batch(0, tokenizer, CONFIG.model).parts["text"].rows
    kept = (rows == loader.batch(0, tokenizer, CONFIG.model).parts["text"].rows).float().mean()
    assert kept < 0.25


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_any_part_of_a_sample_may_be_missing(tmp_path: Path) -> None:
    members = {"a.json": json.dumps({"names": {"en": "one"}}).encode(), "b.txt": b"two"}
    write_shard(tmp_path / "train-000000.tar", members)
    one, two = read_samples(tmp_path, "train")
    assert (one.text, one.image, one.audio) == ("one", None, None)
    assert (two.text, two.key) == ("two", "b")


def test_what_is_no_known_type_is_never_opened(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000000.tar", {"a.pyd": b"cos\nsystem\n.", "a.txt": b"safe"})
    assert read_samples(tmp_path, "train")[0].text == "safe"


def test_damage_is_reported_with_sample_and_member(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000000.tar", {"a1.webp": b"no picture"})
    with pytest.raises(ValueError, match=r"sample 'a1', member \.webp"):
        read_samples(tmp_path, "train")


def test_a_wrong_split_names_those_that_exist(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000000.tar", {"a.txt": b"x"})
    with pytest.raises(ValueError, match="splits there: train"):
        Loader(DataConfig(path=str(tmp_path), split="valid"))
