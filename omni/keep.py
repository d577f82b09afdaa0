"""Parts of a picture or a recording that stay while the rest is made to go with them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from omni.generate import Given
from omni.items import Audio, to_sample
from omni.modality.audio import whole_frames
from omni.modality.image import fit, normalize
from omni.network import Network


@dataclass(frozen=True, eq=False)
class Keep:
    """What stays as it is in whatever is made."""

    original: Image.Image | Audio
    where: np.ndarray
    """bool: the pixels [H W] or the samples [S] of the original that stay"""


def given(keep: Keep, to: str, network: Network) -> Given:
    """What is kept, as the decoder sees it. Raises `ValueError` where it does not fit."""
    config = network.config
    where, original = torch.from_numpy(np.ascontiguousarray(keep.where)), keep.original
    if not isinstance(original, Image.Image if to == "image" else Audio):
        raise ValueError(f"keep must be of what is made, {to}; got {type(original).__name__}")
    content = getattr(to_sample(original, config.audio.sample_rate), to)
    size = content.shape[1:] if isinstance(original, Image.Image) else original.samples.shape
    if where.dtype != torch.bool or where.shape != size:
        is_ = f"{where.dtype} {tuple(where.shape)}"
        raise ValueError(f"keep.where must be bool {tuple(size)}, as the original; got {is_}")
    if to == "image":
        side = config.image.size
        kept = fit(where.expand(3, -1, -1).byte() * 255, side) == 255
        signal = normalize(fit(content, side)).to(network.scale.device)
    else:
        signal = network.log_mel(content[None].to(network.scale.device))[0]
        kept = whole_frames(_stretch(where, len(content)), config.audio.hop)
        kept = kept.expand_as(signal)
    return Given(signal, kept.to(signal.device))


def restore(made: Audio, keep: Keep) -> Audio:
    """Speech with the samples that are kept in their places, to the bit."""
    assert isinstance(keep.original, Audio)
    content = keep.original.samples
    if keep.original.sample_rate != made.sample_rate:
        resampled = to_sample(keep.original, made.sample_rate).audio
        assert resampled is not None
        content = resampled.numpy().astype(np.float32) / 32768
    samples = np.pad(made.samples, (0, max(0, len(content) - len(made.samples))))
    where = _stretch(torch.from_numpy(keep.where), len(content)).numpy()
    samples[: len(content)][where] = content[where]
    return Audio(samples, made.sample_rate)


def _stretch(where: Bool[Tensor, "S"], size: int) -> Bool[Tensor, "S2"]:
    """The same places at another sample rate."""
    return where[torch.arange(size) * len(where) // size]
