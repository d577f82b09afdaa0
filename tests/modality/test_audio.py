"""Sound: log-mel and back, augmentation, padding."""

import numpy as np
import pytest
import torch

from omni.config import AudioConfig
from omni.modality.audio import AudioEncoder, LogMel, add_noise, augment, to_int16

CONFIG = AudioConfig()


def chirp(seconds: float = 0.8) -> torch.Tensor:
    time = np.arange(int(seconds * 16_000)) / 16_000
    wave = 0.5 * np.sin(2 * np.pi * (300 * time + 800 * time**2))
    return torch.from_numpy((wave * 32767).astype(np.int16))


def test_griffin_lim_gives_back_a_sound_with_the_same_frames() -> None:
    log_mel = LogMel(CONFIG)
    frames = log_mel(chirp()[None])[0]
    again = log_mel(log_mel.invert(frames)[None])[0]
    size = min(frames.shape[1], again.shape[1])
    loud = frames[:, :size] > frames.max() - 1.5
    error = (again[:, :size] - frames[:, :size])[loud].abs().mean()
    control = (again[:, :size].flip(0) - frames[:, :size])[loud].abs().mean()
    assert error < 0.2 < control


def test_padding_changes_no_token() -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(AudioConfig(depth=2), 32, 4).eval()
    frames = torch.randn(2, CONFIG.num_mels, 40)
    lengths = torch.tensor([40, 23])
    padded = torch.cat([frames, torch.randn(2, CONFIG.num_mels, 24)], 2)
    short, long = encoder(frames, lengths), encoder(padded, lengths)
    for row, count in enumerate((10, 6)):
        torch.testing.assert_close(long.x[row, :count], short.x[row, :count], atol=1e-5, rtol=0)


def test_augmentation_keeps_the_shape_and_stretches_the_length() -> None:
    frames = LogMel(CONFIG)(chirp()[None]).repeat(16, 1, 1)
    lengths = torch.full((16,), frames.shape[2])
    augmented, stretched = augment(frames, lengths, torch.arange(16))
    assert augmented.shape == frames.shape
    assert stretched.min() < lengths[0]
    assert stretched.max() <= frames.shape[2]


def test_noise_is_each_recording_s_own_and_leaves_half_alone() -> None:
    samples = chirp()[None].repeat(64, 1)
    lengths, keys = torch.full((64,), samples.shape[1]), torch.arange(64)
    noisy = add_noise(samples, lengths, keys)
    noise = noisy - samples.float() / 32768
    assert 16 < (noise.square().mean(1) == 0).sum() < 48
    torch.testing.assert_close(add_noise(samples[5:9], lengths[5:9], keys[5:9]), noisy[5:9])
    loud = noise[noise.square().mean(1) > 0]
    unit = loud / loud.norm(dim=1, keepdim=True)
    assert (unit @ unit.T - torch.eye(len(unit))).abs().max() < 0.06  # 12,800 samples: 0.009


def test_sound_at_another_rate_is_resampled() -> None:
    assert len(to_int16(torch.zeros(44_100), 44_100, 16_000)) == 16_000


@pytest.mark.parametrize("bad", [torch.zeros(2, 5), torch.zeros(0), torch.tensor([float("nan")])])
def test_unusable_sound_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="finite samples"):
        to_int16(bad, 16_000, 16_000)
