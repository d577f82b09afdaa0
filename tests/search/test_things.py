"""What an index knows is found again in files and in shards, below one folder and nowhere else."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omni.items import Audio
from omni.pipeline.sample import numbered_samples
from omni.search.reading import look
from omni.search.things import below, member, place, thing

ROOT = Path(__file__).parents[2]
SHARDS = ROOT / "data/sample"


def test_a_sample_of_a_shard_is_given_out_as_it_lies_there() -> None:
    errors: list[str] = []
    whole = {n: s for n, s in islice(numbered_samples(str(SHARDS), "new"), 40)}
    found = [item for item in islice(look(SHARDS, errors), 8)]
    assert not errors and any("audio" in items for _, items, _ in found)
    for number, (name, items, meta) in enumerate(found):
        assert name == f"new/{whole[number].key}"
        for sense in items.keys() - {"text"}:
            assert meta[sense] == place(SHARDS, "new", number)
            extension, data = member(SHARDS, meta[sense], sense) or ("", b"")
            assert extension == {"image": "webp", "audio": "opus"}[sense] and len(data) > 100
            again, sample = thing(SHARDS, meta[sense], sense), whole[number]
            if isinstance(again, Image.Image):
                assert np.array_equal(np.asarray(again), sample.image.permute(1, 2, 0).numpy())
            else:
                assert isinstance(again, Audio) and again.sample_rate == 16_000
                wave = sample.audio.numpy() / 32768
                np.testing.assert_allclose(again.samples, wave, atol=1e-6)


@pytest.mark.parametrize(
    "where",
    [
        f"{SHARDS}/new#999999",
        f"{SHARDS}/new#-1",
        f"{SHARDS}/new#",
        f"{SHARDS}/gone#0",
        f"{SHARDS}/../../data/emoji#0",
        "#0",
        "/etc/passwd",
        "/etc/passwd#0",
        f"{SHARDS}/../../README.md",
    ],
)
def test_what_lies_elsewhere_or_is_not_there_is_not_found(where: str) -> None:
    assert below(SHARDS, where) is None
    assert member(SHARDS, where, "image") is None
    assert thing(SHARDS, where, "image") is None


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "shards").symlink_to(SHARDS)
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    assert below(root, str(root / "link.png")) is None
    assert member(root, f"{root}/shards/new#0", "image") is None
    assert member(tmp_path, f"{SHARDS}/new#0", "image") is None
