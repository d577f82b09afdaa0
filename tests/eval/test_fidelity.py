"""FID and KID: none between equal sets, more the more sets differ, and torchmetrics' own."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchmetrics.image.fid import FrechetInceptionDistance

from eval.fidelity import Extractor, figures, pixels


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def extractor(weights: Path) -> Extractor:
    return Extractor(f"test_resnet={weights}")


def noise(count: int, seed: int, colour: float = 0.0) -> list[PIL.Image.Image]:
    """Pictures of random squares, tinted."""
    draws = np.random.default_rng(seed)
    squares = draws.integers(0, 256, (count, 6, 6, 3)) * (1 - colour) + 255 * colour
    squares[..., 1] *= 1 - colour
    return [PIL.Image.fromarray(x.astype(np.uint8)).resize((48, 48), 0) for x in squares]


def test_equal_sets_have_none_and_others_the_more_the_more_they_differ(extractor) -> None:
    real, same = noise(40, 0), noise(40, 1)
    found = [dict(figures(real, made, extractor, 0)) for made in (
        real, same, noise(40, 2, 0.3), noise(40, 3, 0.8)
    )]  # fmt: skip
    fid, kid = ([scores[name].value for scores in found] for name in ("FID", "KID"))
    assert abs(fid[0]) < 1e-2 and fid == sorted(fid) and fid[3] > 3 * fid[1]
    assert kid[2] < kid[3] and max(kid[:2]) < kid[2]
    score = found[1]["KID"]
    assert score.low <= score.value <= score.high and (score.n, score.gallery) == (40, 40)
    assert "features of test_resnet, " in score.protocol and "100 subsets of 40" in score.protocol


def test_it_is_what_torchmetrics_gives(extractor) -> None:
    real, made = noise(20, 0), noise(24, 1, 0.4)
    theirs = FrechetInceptionDistance(feature=extractor)
    theirs.update(pixels(real, (48, 48)), real=True)
    theirs.update(pixels(made, (48, 48)), real=False)
    ours = dict(figures(real, made, extractor, 0))
    assert ours["FID"].value == pytest.approx(theirs.compute().item(), abs=1e-6)
    again = dict(figures(real, made, extractor, 0))
    assert ours == again != dict(figures(real, made, extractor, 1))


def test_what_is_no_extractor_is_named(weights: Path, extractor, tmp_path) -> None:
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    for given, told in (
        ("test_resnet", "must be NAME=PATH"),
        (f"no_network={weights}", "must be NAME=PATH with a name of timm's"),
        (f"test_vit={weights}", "must hold the weights of test_vit"),
        (f"test_resnet={tmp_path / 'none.safetensors'}", "must hold the weights of test_resnet"),
        (f"test_resnet={tmp_path / 'gone'}", "must hold the weights of test_resnet"),
    ):
        with pytest.raises(ValueError, match=told):
            Extractor(given)
    with pytest.raises(ValueError, match="two pictures a side, got 1 and 3"):
        next(figures(noise(1, 0), noise(3, 0), extractor, 0))
