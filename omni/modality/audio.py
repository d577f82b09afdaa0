"""Sound: int16 samples to log-mel frames to tokens, and frames back to a waveform.

Letters: N recordings, S samples, M mel bands, F frames, T tokens, P values of a patch, D width.
"""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from einops import rearrange
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor, nn
from torchaudio.transforms import GriffinLim, InverseMelScale, MelSpectrogram

from omni.batch import Tokens
from omni.config import AudioConfig
from omni.nn.draws import Draws, Purpose
from omni.nn.norm import SequenceGroupNorm
from omni.nn.position import sequence
from omni.nn.transformer import Projection, Transformer

FLOOR = 1e-5
MEAN, STD = -1.0, 3.5
"""of log-mel values of speech; they only need to be near"""
MAX_PEAK = 8.0
"""of samples as floats: lossy decoders pass 1.0 a little; 32,768 was meant as an integer"""
MAX_KERNEL = 1 << 26
"""values of a resampler: two rates without a common factor need one for each pair of phases"""
NOISE = 1 << 23
"""samples of the noise of which every recording gets a stretch"""
SILENCE = (math.log(FLOOR) - MEAN) / STD
"""a normalised frame of nothing"""


class LogMel(nn.Module):
    """Waveform to normalised log-mel frames, and back by Griffin-Lim."""

    unit, nothing = STD, SILENCE

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.hop, self.window = config.hop, 4 * config.hop
        rate, bands = config.sample_rate, config.num_mels
        self.bands = bands
        # Not reflected: the end of an array is no event, and what is beyond it is silent.
        self.mel = MelSpectrogram(
            rate, self.window, hop_length=self.hop, n_mels=bands, pad_mode="constant"
        )
        self.unmel = InverseMelScale(self.window // 2 + 1, bands, rate)
        self.griffin_lim = GriffinLim(self.window, n_iter=64, hop_length=self.hop)

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

    def silence(
        self, frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"]
    ) -> Float[Tensor, "N 1 1"]:
        """What each recording has where nothing is to be heard: here, the same for all."""
        return frames.new_full((len(frames), 1, 1), SILENCE)

    def power(self, frames: Float[Tensor, "... M F"]) -> Float[Tensor, "... K F"]:
        """A power spectrogram, K = window / 2 + 1, whose log-mel is near `frames`."""
        return self.unmel(((frames.float() * STD + MEAN).exp() - FLOOR).clamp(min=0))

    def power_as(
        self, frames: Float[Tensor, "N M F"], window: int, hop: int, count: int
    ) -> Float[Tensor, "N K2 F2"]:
        """The same as another Hann window, at another hop, would have it: `count` frames."""
        power = self.power(frames)
        at = torch.arange(count, device=frames.device) * (hop / self.hop)
        before = at.long().clamp(max=power.shape[2] - 1)
        after = (before + 1).clamp(max=power.shape[2] - 1)
        power = torch.lerp(power[..., before], power[..., after], (at - before).clamp(0, 1))
        power = F.interpolate(power.mT, window // 2 + 1, mode="linear", align_corners=True).mT
        # Of noise a bin has as much as the window is long; of a tone fewer bins have more.
        return power * (window / self.window)

    @torch.no_grad()
    def invert(self, frames: Float[Tensor, "M F"]) -> Float[Tensor, "S"]:
        """A waveform whose log-mel is near `frames`, its peak at most 1."""
        with torch.random.fork_rng():  # random phases to start from, the same ones every time
            torch.manual_seed(0)
            wave = self.griffin_lim(self.power(frames))
        return wave / wave.abs().max().clamp(min=1)


def padded(lengths: Int[Tensor, "N"], sample_rate: int) -> Int[Tensor, "N"]:
    """Samples that recordings are padded to: a multiple of 0.4 s.

    Few different lengths: each new shape costs seconds of preparation in oneDNN.
    """
    step = int(0.4 * sample_rate)
    return (lengths + step - 1) // step * step


def frame_mask(lengths: Int[Tensor, "N"], size: int) -> Bool[Tensor, "N T"]:
    """True where a position is before its sequence's end."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def whole_frames(kept: Bool[Tensor, "S"], hop: int) -> Bool[Tensor, "F"]:
    """Log-mel frames of which every sample is kept; what follows the end is not."""
    return F.pad(F.pad(kept, (2 * hop, 0), value=True), (0, 2 * hop)).unfold(0, 4 * hop, hop).all(1)


def add_noise(
    samples: Int16[Tensor, "N S"], lengths: Int[Tensor, "N"], keys: Int[Tensor, "N"]
) -> Float[Tensor, "N S"]:
    """White noise on half of the recordings, at 0 to 30 dB below the speech."""
    x = samples.float() / 32768
    present = frame_mask(lengths, x.shape[1])
    speech = (x.square().sum(1) / lengths).sqrt()
    draws = Draws(keys, Purpose.AUDIO_NOISE)
    level = speech * 10 ** draws.uniform(-1.5, 0) * (draws.uniform(0, 1) < 0.5)
    # A stretch of one long noise each: to draw millions of numbers by key costs half a step.
    stretches = _noise(x.device).unfold(0, x.shape[1], 1)
    start = draws.uniform(0, 1) * (NOISE // 2)
    return x + level[:, None] * stretches[start.long()] * present


@lru_cache(maxsize=4)
def _noise(device: torch.device) -> Float[Tensor, "V"]:
    """White noise of variance 1, the same in every run."""
    return torch.randn(NOISE, generator=torch.Generator().manual_seed(0)).to(device)


def augment(
    frames: Float[Tensor, "N M F"],
    lengths: Int[Tensor, "N"],
    room: Int[Tensor, "N"],
    keys: Int[Tensor, "N"],
    silence: Float[Tensor, "N 1 1"] | float = SILENCE,
    unit: float = STD,
) -> tuple[Float[Tensor, "N M F"], Int[Tensor, "N"]]:
    """Random tempo, pitch and loudness, and masks over time and frequency (arXiv:1904.08779).

    `room`: frames that a recording may come to have when it is slowed down, F at most;
    `unit`: how many natural logarithms of power a unit of the frames is.
    """
    (n, bands, size), device = frames.shape, frames.device
    uniform = Draws(keys, Purpose.AUDIO_AUGMENTATION).uniform
    tempo, pitch, bend = uniform(0.85, 1.2), uniform(-0.12, 0.12).exp(), uniform(-0.05, 0.05)
    time = torch.arange(size, device=device) * tempo[:, None]
    band = torch.linspace(-1, 1, bands, device=device) * pitch[:, None] + bend[:, None]
    grid = torch.stack(
        [
            (2 * time / max(size - 1, 1) - 1)[:, None, :].expand(n, bands, size),
            band[:, :, None].expand(n, bands, size),
        ],
        -1,
    )
    x = F.grid_sample((frames - silence)[:, None], grid, align_corners=True)[:, 0] + silence
    x = x + uniform(-0.4, 0.4)[:, None, None] * (STD / unit)
    lengths = (lengths / tempo).long().clamp(min=1).minimum(room)

    for axis, extent, widest in ((2, lengths.float(), 0.2), (1, bands, 0.2)):
        length = uniform(0, widest) * extent
        start = uniform(0, 1) * (extent - length)
        at = torch.arange(x.shape[axis], device=device)
        hidden = (at >= start[:, None]) & (at < (start + length)[:, None])
        x = torch.where(hidden[:, None] if axis == 2 else hidden[:, :, None], silence, x)
    return x, lengths


def patchify(frames: Float[Tensor, "N M F"], patch: int) -> Float[Tensor, "N T P"]:
    """Groups of `patch` frames, each flattened; F must be a multiple of `patch`."""
    return rearrange(frames, "n m (t p) -> n t (p m)", p=patch)


def unpatchify(patches: Float[Tensor, "N T P"], patch: int) -> Float[Tensor, "N M F"]:
    """The inverse of `patchify`."""
    return rearrange(patches, "n t (p m) -> n m (t p)", p=patch)


class Convolution(nn.Module):
    """Three by three, normed; what is padding stays zero."""

    def __init__(self, inside: int, outside: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.norm = SequenceGroupNorm(outside)

    def forward(
        self, x: Float[Tensor, "N C M F"], present: Bool[Tensor, "N 1 1 F2"]
    ) -> Float[Tensor, "N C2 M2 F2"]:
        """`present` are the frames of what comes out."""
        return F.silu(self.norm(self.convolution(x), present)) * present


class Stage(nn.Module):
    """Fewer bands and frames, then a residual block (He et al., arXiv:1512.03385)."""

    def __init__(self, inside: int, outside: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.reduce = Convolution(inside, outside, stride)
        self.residual = nn.ModuleList([Convolution(outside, outside) for _ in range(2)])
        self.stride = stride[1]

    def forward(
        self, x: Float[Tensor, "N C M F"], lengths: Int[Tensor, "N"]
    ) -> tuple[Float[Tensor, "N C2 M2 F2"], Int[Tensor, "N"]]:
        """`stride` times fewer bands and frames, rounded up; what is padding stays zero."""
        lengths = (lengths + self.stride - 1) // self.stride
        present = frame_mask(lengths, -(-x.shape[3] // self.stride))[:, None, None]
        x = y = self.reduce(x, present)
        for convolution in self.residual:
            y = convolution(y, present)
        return x + y, lengths


class AudioEncoder(nn.Module):
    """2-D convolutions over the log-mel frames, then a transformer over tokens of four frames.

    As with pictures, convolutions are what learns from few examples: with strided convolutions
    over time alone (Whisper's stem) the demo had learned nothing after 30,000 recordings.
    """

    channels = (1, 16, 48, 96)
    token_frames = 4
    """log-mel frames that a token stands for"""

    def __init__(self, config: AudioConfig, width: int, num_heads: int) -> None:
        super().__init__()
        strides = ((2, 2), (2, 2), (2, 1))  # of bands and frames
        stages = zip(pairwise(self.channels), strides, strict=True)
        self.stem = nn.ModuleList(Stage(*channels, stride) for channels, stride in stages)
        self.project = nn.Sequential(
            Projection(self.channels[-1] * -(-config.num_mels // 8), width), nn.LayerNorm(width)
        )
        self.transformer = Transformer(width, config.depth, num_heads)

    def forward(self, frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"]) -> Tokens:
        """Tokens of log-mel frames; `lengths` are the valid frames of each recording."""
        x = (frames - SILENCE) * frame_mask(lengths, frames.shape[2])[:, None]
        x = x[:, None].contiguous(memory_format=torch.channels_last)
        for stage in self.stem:
            x, lengths = stage(x, lengths)
        x = self.project(rearrange(x, "n c m t -> n t (m c)"))
        mask = frame_mask(lengths, x.shape[1])
        x = x + sequence(x.shape[1], x.shape[2], x.device)
        return Tokens(self.transformer(x, mask), mask)


def to_float(samples: np.ndarray) -> Float[np.ndarray, "..."]:
    """Return samples as float32 within ±1: integers by the range of their type, floats as they are.

    What is a little beyond ±1, as lossy decoders give it, is left to be clipped. Raises
    `ValueError` for floats beyond ±`MAX_PEAK`, which were meant as integers, and for NaN.
    """
    kind = samples.dtype
    if kind == np.uint8:  # the only unsigned one that recordings have
        return (samples.astype(np.float32) - 128) / 128
    if kind in (np.int8, np.int16, np.int32):
        full_scale = 2 ** (8 * kind.itemsize - 1)
        exact = np.float32 if kind.itemsize <= 2 else np.float64
        return (samples.astype(exact) / full_scale).astype(np.float32, copy=False)
    if kind.kind != "f":
        raise ValueError(f"samples must be floats, uint8, int8, int16 or int32, got {kind}")
    peak = float(max(samples.max(initial=0), -samples.min(initial=0)))
    if not peak <= MAX_PEAK:  # nor is any number that is none
        raise ValueError(
            f"samples as floats must be finite numbers within ±1, the largest is {peak:g}; "
            f"divide integers by their full scale, such as 32768"
        )
    return samples.astype(np.float32, copy=False)


def to_levels(samples: np.ndarray) -> Int16[np.ndarray, "..."]:
    """Return samples as int16, full scale at 32,768, clipped. Raises `ValueError` as `to_float`."""
    levels = np.rint(to_float(samples) * 32768)
    return np.clip(levels, -32768, 32767).astype(np.int16)


def to_int16(samples: Tensor, rate: int, target: int) -> Int16[Tensor, "S2"]:
    """Return one row of samples at `rate` Hz, floats or integers, as int16 at `target` Hz.

    Raises `ValueError` for what cannot be used.
    """
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError(f"sound must be one row of samples, got shape {tuple(samples.shape)}")
    if rate != target:
        common = math.gcd(rate, target)
        if (rate // common) * (target // common) > MAX_KERNEL:
            raise ValueError(
                f"{rate} Hz has too few factors in common with {target} Hz to resample"
            )
        floats = torch.from_numpy(to_float(samples.numpy()))
        samples = torchaudio.functional.resample(floats, rate, target)
    elif samples.dtype == torch.int16:
        return samples
    return torch.from_numpy(to_levels(samples.numpy()))
