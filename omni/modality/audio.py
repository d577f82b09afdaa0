"""Sound: int16 samples to log-mel frames to tokens, and frames back to a waveform.

Letters: N recordings, S samples, M mel bands, F frames, T tokens, P values of a patch, D width.
"""

import torch
import torch.nn.functional as F
import torchaudio
from einops import rearrange
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor, nn

from omni.batch import Tokens
from omni.config import AudioConfig
from omni.nn.position import sequence
from omni.nn.transformer import Transformer

FLOOR = 1e-5
MEAN, STD = -1.0, 3.5
"""of log-mel values of speech; they only need to be near (silence is then -3)"""


class LogMel(nn.Module):
    """Waveform to normalised log-mel frames, and back by Griffin-Lim."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.hop, self.window = config.hop, 4 * config.hop
        self.mel = torchaudio.transforms.MelSpectrogram(
            config.sample_rate, self.window, hop_length=self.hop, n_mels=config.num_mels
        )
        self.unmel = torchaudio.transforms.InverseMelScale(
            self.window // 2 + 1, config.num_mels, config.sample_rate
        )
        self.griffin_lim = torchaudio.transforms.GriffinLim(
            self.window, n_iter=64, hop_length=self.hop
        )

    def num_frames(self, num_samples: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Frames of a recording: one at each hop, both ends included."""
        return num_samples // self.hop + 1

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, samples: Int16[Tensor, "N S"] | Float[Tensor, "N S"]) -> Tensor:
        """Normalised log-mel [N M F] of int16 samples, or of floats in -1 ... 1."""
        if not samples.is_floating_point():
            samples = samples.float() / 32768
        # A few recordings at a time: the spectra of a whole batch do not fit a CPU's cache.
        chunks = samples.split(8) if samples.device.type == "cpu" else (samples,)
        power = torch.cat([self.mel(chunk) for chunk in chunks])
        return ((power + FLOOR).log() - MEAN) / STD

    @torch.no_grad()
    def invert(self, frames: Float[Tensor, "M F"]) -> Float[Tensor, "S"]:
        """A waveform whose log-mel is near `frames`, its peak at most 1."""
        power = ((frames.float() * STD + MEAN).exp() - FLOOR).clamp(min=0)
        wave = self.griffin_lim(self.unmel(power))
        return wave / wave.abs().max().clamp(min=1)


def frame_mask(lengths: Int[Tensor, "N"], size: int) -> Bool[Tensor, "N T"]:
    """True where a position is before its sequence's end."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def add_noise(
    samples: Int16[Tensor, "N S"], lengths: Int[Tensor, "N"], generator: torch.Generator
) -> Float[Tensor, "N S"]:
    """White noise on half of the recordings, at 0 to 30 dB below the speech."""
    x = samples.float() / 32768
    present = frame_mask(lengths, x.shape[1])
    speech = (x.square().sum(1) / lengths).sqrt()
    draw = torch.rand(2, len(x), generator=generator, device=x.device)
    level = speech * 10 ** (-1.5 * draw[0]) * (draw[1] < 0.5)
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return x + level[:, None] * noise * present


def augment(
    frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"], generator: torch.Generator
) -> tuple[Float[Tensor, "N M F"], Int[Tensor, "N"]]:
    """Random tempo, pitch and loudness, and masks over time and frequency (arXiv:1904.08779)."""
    n, bands, size = frames.shape
    device = frames.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, device=device)

    tempo, pitch, bend = uniform(0.8, 1.25), uniform(-0.15, 0.15).exp(), uniform(-0.08, 0.08)
    time = torch.arange(size, device=device) * tempo[:, None]
    band = torch.linspace(-1, 1, bands, device=device) * pitch[:, None] + bend[:, None]
    grid = torch.stack(
        [
            (2 * time / max(size - 1, 1) - 1)[:, None, :].expand(n, bands, size),
            band[:, :, None].expand(n, bands, size),
        ],
        -1,
    )
    silence = (torch.tensor(FLOOR).log().item() - MEAN) / STD
    x = F.grid_sample(frames[:, None] - silence, grid, align_corners=True)[:, 0] + silence
    x = x + uniform(-0.4, 0.4)[:, None, None]
    lengths = (lengths / tempo).long().clamp(1, size)

    for axis, extent, widest in ((2, lengths.float(), 0.25), (1, bands, 0.2), (1, bands, 0.2)):
        length = uniform(0, widest) * extent
        start = uniform(0, 1) * (extent - length)
        at = torch.arange(x.shape[axis], device=device)
        hidden = (at >= start[:, None]) & (at < (start + length)[:, None])
        x = x.masked_fill(hidden[:, None] if axis == 2 else hidden[:, :, None], silence)
    return x, lengths


def patchify(frames: Float[Tensor, "N M F"], patch: int) -> Float[Tensor, "N T P"]:
    """Groups of `patch` frames, each flattened; F must be a multiple of `patch`."""
    return rearrange(frames, "n m (t p) -> n t (p m)", p=patch)


def unpatchify(patches: Float[Tensor, "N T P"], patch: int) -> Float[Tensor, "N M F"]:
    """The inverse of `patchify`."""
    return rearrange(patches, "n t (p m) -> n m (t p)", p=patch)


class AudioEncoder(nn.Module):
    """Two strided convolutions over the frames, then a transformer (Whisper, arXiv:2212.04356)."""

    stride = 4

    def __init__(self, config: AudioConfig, width: int, num_heads: int) -> None:
        super().__init__()
        self.stem = nn.ModuleList(
            [
                nn.Conv1d(config.num_mels, width, 5, stride=2, padding=2),
                nn.Conv1d(width, width, 3, stride=2, padding=1),
            ]
        )
        self.transformer = Transformer(width, config.depth, num_heads)

    def forward(self, frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"]) -> Tokens:
        """Tokens of log-mel frames; `lengths` are the valid frames of each recording."""
        x = frames * frame_mask(lengths, frames.shape[2])[:, None]
        for conv in self.stem:
            x = F.gelu(conv(x))
        x = x.transpose(1, 2)
        mask = frame_mask((lengths + self.stride - 1) // self.stride, x.shape[1])
        x = x + sequence(x.shape[1], x.shape[2], x.device)
        return Tokens(self.transformer(x, mask), mask)


def to_int16(samples: Float[Tensor, "S"], rate: int, target: int) -> Int16[Tensor, "S2"]:
    """Floats in -1 ... 1 at `rate` Hz to int16 at `target` Hz. Raises `ValueError` if unusable."""
    if samples.ndim != 1 or len(samples) == 0 or not samples.isfinite().all():
        raise ValueError(f"sound must be a row of finite samples, got shape {tuple(samples.shape)}")
    if rate != target:
        samples = torchaudio.functional.resample(samples.float(), rate, target)
    return (samples.float().clamp(-1, 1) * 32767).round().to(torch.int16)
