"""The speech judge's parts: spectrogram, augmentation, network.

Nothing is shared with the model's own front end. Letters in shapes: N recordings, M mel bands,
T frames of 12.5 ms, C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchaudio.functional import resample
from torchaudio.transforms import MelSpectrogram

from eval.pieces import PieceClassifier
from omni import Audio

SAMPLE_RATE = 16000
SECONDS = 1.6  # longer names are known by their beginning
BANDS = 48
RANGE = 8.0  # natural logarithm of power: 35 dB below a clip's peak counts as silence


def prepare(recordings: Sequence[Audio]) -> Float[Tensor, "N 1 M T"]:
    """Log-mel relative to each clip's peak, in [0, 1]; 0 is silence.

    Padding is exact silence and silence is 0, so a clip's length needs no mask: what follows it
    adds nothing to a convolution with zero padding.
    """
    spectrogram = MelSpectrogram(
        SAMPLE_RATE, n_fft=512, hop_length=200, n_mels=BANDS, f_min=60, f_max=7600
    )
    size = int(SECONDS * SAMPLE_RATE)
    made = []
    for recording in recordings:
        wave = torch.as_tensor(recording.samples, dtype=torch.float32)
        if recording.sample_rate != SAMPLE_RATE:
            wave = resample(wave, recording.sample_rate, SAMPLE_RATE)
        wave = F.pad(wave[:size], (0, max(0, size - len(wave))))
        power = spectrogram(wave).clamp(min=1e-10).log()
        made.append(((power - power.max()) / RANGE + 1).clamp(min=0))
    return torch.stack(made)[:, None]


def normalized(x: Float[Tensor, "N 1 M T"]) -> Float[Tensor, "N 1 M T"]:
    """As they are: `prepare` has set the range."""
    return x.float()


def augment(x: Float[Tensor, "N 1 M T"]) -> Float[Tensor, "N 1 M T"]:
    """Tempo, onset, pitch, loudness, a noise floor, and a masked band and moment, at random."""
    n, _, bands, frames = x.shape
    tempo = torch.exp(torch.randn(n) * 0.15)
    pitch = torch.exp(torch.randn(n) * 0.06)
    onset = (torch.rand(n) - 0.5) * 0.15
    zero = torch.zeros(n)
    # Scaling is about the centre of the grid; the shift keeps the beginning of a clip in place.
    theta = torch.stack(
        [tempo, zero, tempo - 1 + onset, zero, pitch, pitch - 1 + torch.randn(n) * 0.04], dim=1
    ).view(n, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)

    tilt = torch.linspace(-1, 1, bands).view(1, 1, bands, 1) * torch.randn(n, 1, 1, 1) * 0.1
    x = torch.where(x > 0, x + tilt, x).clamp(min=0)
    floor = torch.rand(n, 1, 1, 1) * 0.5 + torch.randn_like(x) * 0.08
    noisy = torch.rand(n, 1, 1, 1) < 0.4
    x = torch.where(noisy, torch.maximum(x, floor), x)

    band = torch.arange(bands).view(1, 1, bands, 1) - torch.randint(bands, (n, 1, 1, 1))
    moment = torch.arange(frames).view(1, 1, 1, frames) - torch.randint(frames, (n, 1, 1, 1))
    hidden = ((band >= 0) & (band < 6)) | ((moment >= 0) & (moment < 10))
    return x.masked_fill(hidden, 0.0)


class Ear(nn.Module):
    """Residual 2-D convolutions over a spectrogram, attention pooling over time.

    Args:
        names: English name of each concept.
        width: channels of the first stage; doubled twice.
    """

    def __init__(self, names: Sequence[str], width: int = 24):
        super().__init__()
        layers, channels = [], 1
        for stage in range(4):
            layers.append(Stage(channels, min(width << stage, 4 * width)))
            channels = min(width << stage, 4 * width)
        self.stages = nn.Sequential(*layers)
        features = channels * (BANDS >> 4)
        self.attention = nn.Linear(features, 1)
        self.classify = nn.Sequential(nn.Dropout(0.2), PieceClassifier(2 * features, names))

    def forward(self, x: Float[Tensor, "N 1 M T"]) -> Float[Tensor, "N C"]:
        """Logits of each concept."""
        x = self.stages(x).flatten(1, 2).transpose(1, 2)
        weighted = (self.attention(x).softmax(dim=1) * x).sum(dim=1)
        return self.classify(torch.cat([weighted, x.amax(dim=1)], dim=1))


class Stage(nn.Module):
    """Halves bands and frames, then adds one residual block (He et al. 2016)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.reduce = unit(channels, width, stride=2)
        self.residual = nn.Sequential(unit(width, width), unit(width, width))

    def forward(self, x: Float[Tensor, "N C M T"]) -> Float[Tensor, "N W M2 T2"]:
        """Features at half the resolution."""
        x = self.reduce(x)
        return x + self.residual(x)


def unit(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, SiLU."""
    convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.SiLU())
