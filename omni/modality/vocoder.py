"""A HiFi-GAN of transformers in the place of Griffin-Lim.

Letters: M mel bands, F frames, S samples.
"""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    SpeechT5FeatureExtractor,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from omni.config import AudioConfig
from omni.modality.audio import LogMel

RAYLEIGH = math.sqrt(math.pi) / 2
"""the mean magnitude of noise of a mean power of 1"""


class Vocoder(nn.Module):
    """Our log-mel frames to SpeechT5's, and these to a waveform (arXiv:2010.05646).

    `name` is a folder or a repository of the hub with weights as safetensors. Raises `ValueError`
    where there is no such vocoder, or it is of another rate, or of frames that are not SpeechT5's.
    """

    def __init__(self, name: str | Path, config: AudioConfig) -> None:
        super().__init__()
        self.log_mel = LogMel(config)
        self.front = SpeechT5FeatureExtractor()
        self.register_buffer("filters", torch.from_numpy(self.front.mel_filters).float().T)
        self.filters: Float[Tensor, "M K"]
        try:
            _check(name, AutoConfig.from_pretrained(name), config.sample_rate, self.front)
            loaded: Any = SpeechT5HifiGan.from_pretrained(
                name, use_safetensors=True, output_loading_info=True
            )
        except OSError as error:
            raise ValueError(f"no vocoder {name}: {str(error).splitlines()[0]}") from error
        self.network, told = loaded
        if missing := sorted(told["missing_keys"]):
            raise ValueError(f"vocoder {name} lacks tensor {missing[0]!r}")
        self.eval()

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, frames: Float[Tensor, "M F"]) -> Float[Tensor, "S"]:
        """A waveform of as many samples as Griffin-Lim would make, in -1 ... 1."""
        size = (frames.shape[1] - 1) * self.log_mel.hop
        return self.network(self.translate(frames))[:size]

    def translate(self, frames: Float[Tensor, "M F"]) -> Float[Tensor, "F2 M2"]:
        """Near the frames that SpeechT5 has of what has ours."""
        front = self.front
        count = (frames.shape[1] - 1) * self.log_mel.hop // front.sample_stride + 1
        power = self.log_mel.power_as(frames[None], front.n_fft, front.sample_stride, count)[0]
        # Ours is the mean over a band, of which magnitudes are, as of noise, a little lower.
        return (self.filters @ power.sqrt() * RAYLEIGH).clamp(min=front.mel_floor).log10().T


def _check(
    name: str | Path, settings: PreTrainedConfig, rate: int, front: SpeechT5FeatureExtractor
) -> None:
    """Raises `ValueError` for a vocoder that the frames, or the model, do not fit."""
    if not isinstance(settings, SpeechT5HifiGanConfig):
        raise ValueError(f"vocoder {name} must be a speecht5_hifigan, is {settings.model_type}")
    hop = math.prod(settings.upsample_rates)
    needs = {
        "sampling_rate": (settings.sampling_rate, rate),
        "model_in_dim": (settings.model_in_dim, front.num_mel_bins),
        "samples a frame": (hop, front.sample_stride),
    }
    for what, (there, here) in needs.items():
        if there != here:
            raise ValueError(f"vocoder {name}: {what} must be {here}, is {there}")
