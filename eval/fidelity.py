"""FID and KID of pictures, by torchmetrics, in the features of any network of timm.

A figure belongs to its features: FID in others than Inception's (arXiv:1706.08500) is none that
papers tell, so the protocol names network and weights. Letters: N pictures, D features.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from eval.judge import sha256
from eval.metrics import Score

SUBSETS, SUBSET = 100, 50
"""draws of so many pictures, of which KID is the mean"""
BATCH = 64


class Extractor(nn.Module):
    """A timm network before its head, with weights from a file, on pictures as it wants them.

    Args:
        given: NAME=PATH, as `tf_efficientnet_lite0=lite0.safetensors`.

    Raises:
        ValueError: no such network, or the file does not hold its weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, given: str) -> None:
        super().__init__()
        name, _, path = given.partition("=")
        if not path or name not in timm.list_models():
            raise ValueError(f"an extractor must be NAME=PATH with a name of timm's, got {given!r}")
        self.network = timm.create_model(name).eval()
        try:
            weights = load_file(path)
            self.network.load_state_dict(weights)
        except (OSError, SafetensorError, RuntimeError) as error:
            told = " ".join(str(error).split())[:200]
            raise ValueError(f"{path} must hold the weights of {name}: {told}") from error
        self.network.reset_classifier(0)  # pyright: ignore[reportCallIssue]
        wanted = resolve_model_data_config(self.network)
        self.size = wanted["input_size"][1:]
        for part in ("mean", "std"):
            self.register_buffer(part, torch.tensor(wanted[part]).view(1, 3, 1, 1))
        self.num_features = self.network.num_features
        self.name = f"{name}, {sha256(Path(path))}"

    def forward(self, x: UInt8[Tensor, "N 3 H W"]) -> Float[Tensor, "N D"]:
        """Features of pixels of any size."""
        floats = nn.functional.interpolate(
            x.float() / 255, self.size, mode="bicubic", antialias=True
        )
        return self.network((floats.clamp(0, 1) - self.mean) / self.std)


@torch.no_grad()
def figures(
    real: Sequence[PIL.Image.Image],
    made: Sequence[PIL.Image.Image],
    extractor: Extractor,
    seed: int,
) -> Iterator[tuple[str, Score]]:
    """FID, and KID (arXiv:1801.01401) with the interval of the mean over its subsets.

    FID of few pictures is too high, so that only figures of equal n may be compared; it has no
    interval. Raises `ValueError` for fewer than two pictures on a side.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError(f"FID needs two pictures a side, got {len(real)} and {len(made)}")
    size = min(SUBSET, len(real), len(made))
    fid = FrechetInceptionDistance(feature=extractor)
    with warnings.catch_warnings():  # it says that it keeps all features: those of `limit` pictures
        warnings.simplefilter("ignore", UserWarning)
        kid = KernelInceptionDistance(feature=extractor, subsets=SUBSETS, subset_size=size)
    for pictures, is_real in ((real, True), (made, False)):
        for start in range(0, len(pictures), BATCH):
            x = pixels(pictures[start : start + BATCH], real[0].size)
            fid.update(x, real=is_real)
            kid.update(x, real=is_real)
    value = fid.compute().item()
    told = f"features of {extractor.name}"
    yield "FID", Score(value, value, value, len(made), len(real), seed, told)
    with torch.random.fork_rng():  # which pictures are drawn
        torch.manual_seed(seed)
        mean, spread = (float(x) for x in kid.compute())
    half = 1.96 * spread / SUBSETS**0.5
    told = f"{told}; {SUBSETS} subsets of {size}"
    yield "KID", Score(mean, mean - half, mean + half, len(made), len(real), seed, told)


def pixels(pictures: Sequence[PIL.Image.Image], size: tuple[int, int]) -> UInt8[Tensor, "N 3 H W"]:
    """RGB pixels, all of one size."""
    sized = [p.convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC) for p in pictures]
    return torch.from_numpy(np.stack([np.asarray(p) for p in sized])).permute(0, 3, 1, 2)
