"""Sound: log-mel and back, augmentation, padding."""

import numpy as np
import pytest
import torch

from omni.config import AudioConfig
from omni.modality.audio import (
    SILENCE,
    AudioEncoder,
    LogMel,
    add_noise,
    augment,
    padded,
    to_int16,
)

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


@pytest.mark.parametrize("more", [3, 24, 100])
def test_padding_changes_no_token(more: int) -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(AudioConfig(depth=2), 32, 4).eval()
    frames = torch.randn(2, CONFIG.num_mels, 40)
    lengths = torch.tensor([40, 23])
    longer = torch.cat([frames, torch.randn(2, CONFIG.num_mels, more)], 2)
    short, long = encoder(frames, lengths), encoder(longer, lengths)
    alone = encoder(frames[1:, :, :23], lengths[1:])
    for row, count in enumerate((10, 6)):
        torch.testing.assert_close(long.x[row, :count], short.x[row, :count], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.x[0, :6], short.x[1, :6], atol=1e-5, rtol=0)
    assert long.mask.sum(1).tolist() == [10, 6]


@pytest.mark.parametrize("more", [1, 200, 6400])
def test_padding_changes_no_frame(more: int) -> None:
    log_mel, sound = LogMel(CONFIG), chirp()
    frames = log_mel(sound[None])
    longer = log_mel(torch.nn.functional.pad(sound, (0, more))[None])
    count = int(log_mel.num_frames(torch.tensor([len(sound)])))
    assert count == frames.shape[2] <= longer.shape[2]
    torch.testing.assert_close(longer[..., :count], frames, atol=1e-5, rtol=0)


def test_augmentation_keeps_the_shape_and_stretches_the_length() -> None:
    frames = LogMel(CONFIG)(chirp()[None]).repeat(16, 1, 1)
    lengths = torch.full((16,), 50)
    room = torch.tensor([frames.shape[2]] * 8 + [52] * 8)
    augmented, stretched = augment(frames, lengths, room, torch.arange(16))
    assert augmented.shape == frames.shape
    assert stretched.min() < 50 < stretched.max()
    assert (stretched <= room).all() and (stretched[8:] == 52).any()


def test_augmentation_of_a_recording_is_blind_to_the_length_of_its_neighbours() -> None:
    """From samples to tokens: what a recording becomes is fixed by its key."""
    torch.manual_seed(0)
    log_mel, encoder = LogMel(CONFIG), AudioEncoder(CONFIG, 32, 4).eval()
    sounds = torch.zeros(8, 32_000, dtype=torch.int16)
    lengths, keys = torch.tensor([4000, 6000, 9100, 12_800] * 2), torch.arange(8)
    for sound, length in zip(sounds, lengths, strict=True):
        sound[:length] = chirp()[:length]
    room = log_mel.num_frames(padded(lengths, CONFIG.sample_rate))

    def encode(rows: slice, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        noisy = add_noise(sounds[rows, :size], lengths[rows], keys[rows])
        frames = log_mel(noisy), log_mel.num_frames(lengths[rows])
        x, stretched = augment(*frames, room[rows], keys[rows])
        return x, stretched, encoder(x, stretched).x

    together, stretched, tokens = encode(slice(0, 8), 32_000)
    for row in range(8):
        size = int(padded(lengths[row : row + 1], CONFIG.sample_rate))
        alone, length, token = encode(slice(row, row + 1), size)
        assert length == stretched[row]
        # Worst seen: 7e-6, at places that are rounded; of the tokens, 4e-6.
        x, y = alone[0, :, :length], together[row, :, :length]
        torch.testing.assert_close(x, y, atol=5e-5, rtol=0)
        count = -(-int(length) // 4)
        torch.testing.assert_close(token[0, :count], tokens[row, :count], atol=3e-5, rtol=0)
        # Control: with another key the same sound becomes something else.
        assert (tokens[row, :count] - tokens[(row + 4) % 8, :count]).abs().max() > 0.1


def test_recordings_are_padded_to_few_lengths_with_silence() -> None:
    lengths = torch.tensor([1, 6400, 6401, 32_000])
    assert padded(lengths, 16_000).tolist() == [6400, 6400, 12_800, 32_000]
    frames = LogMel(CONFIG)(torch.zeros(1, 6400, dtype=torch.int16))
    torch.testing.assert_close(frames, torch.full_like(frames, SILENCE))


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
    with pytest.raises(ValueError, match=r"one row of samples|finite numbers"):
        to_int16(bad, 16_000, 16_000)
