"""A HiFi-GAN in the place of Griffin-Lim: its frames beside those of transformers, its sound."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    BertConfig,
    BertModel,
    SpeechT5FeatureExtractor,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from omni.config import AudioConfig, DataConfig
from omni.interface import Omni, load
from omni.modality.audio import LogMel
from omni.modality.vocoder import Vocoder
from omni.pipeline.loader import Loader

ROOT = Path(__file__).parents[2]
SMALL = {"upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "initializer_range": 0.2}
SMALL |= {"resblock_dilation_sizes": [[1, 3]]}


def write(folder: Path, **settings: object) -> Path:
    torch.manual_seed(5)
    SpeechT5HifiGan(SpeechT5HifiGanConfig(**SMALL | settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("hifigan"))


@pytest.fixture(scope="module")
def voices() -> list[torch.Tensor]:
    samples = Loader(DataConfig()).examples(12, 16_000)
    return [sample.audio for sample in samples if sample.audio is not None]


@pytest.mark.parametrize("config", [AudioConfig(), AudioConfig(num_mels=80, hop=160)])
def test_our_frames_become_those_of_speecht5(
    folder: Path, voices: list[torch.Tensor], config: AudioConfig
) -> None:
    vocoder, log_mel, extractor = (
        Vocoder(folder, config),
        LogMel(config),
        SpeechT5FeatureExtractor(),
    )
    wanted, found = [], []
    for voice in voices:
        wave = voice.numpy().astype(np.float32) / 32768
        said = extractor(audio_target=wave, sampling_rate=16_000)["input_values"][0]
        wanted.append(torch.from_numpy(said))
        found.append(vocoder.translate(log_mel(voice[None])[0]))
    pairs = [*zip(found, wanted, strict=True)]
    errors = [(a[: len(b)] - b[: len(a)]).abs().mean() for a, b in pairs]
    controls = [(a[:20] - b[:20]).abs().mean() for (a, _), (_, b) in pairwise(pairs)]
    bias = sum((a[: len(b)] - b[: len(a)]).mean() for a, b in pairs) / len(pairs)
    assert all(0 <= len(b) - len(a) <= 1 for a, b in pairs)
    # Decades. Seen: 0.135 and 0.138, the worst 0.18, off by 0.02; of the next recording 0.7.
    assert sum(errors) / len(errors) < 0.16 < 0.4 < sum(controls) / len(controls)
    assert abs(bias) < 0.05


def test_sound_is_as_long_as_by_griffin_lim_and_the_same_every_time(
    folder: Path, voices: list[torch.Tensor]
) -> None:
    config = AudioConfig()
    log_mel = LogMel(config)
    one, again = Vocoder(folder, config), Vocoder(folder, config)
    for voice in voices[:4]:
        frames = log_mel(voice[None])[0]
        wave = one(frames)
        assert wave.shape == log_mel.invert(frames).shape and wave.abs().max() <= 1
        assert torch.equal(wave, again(frames))
        assert wave.std() > 1e-3 and not torch.equal(wave, one(frames.flip(0)))


def test_a_model_speaks_by_it_whoever_else_is_spoken_for(tiny_run: Path, folder: Path) -> None:
    model = load(tiny_run, vocoder=folder)
    how = {"steps": 2, "candidates": 1}
    together = model.generate(["red circle", "blue square"], to="audio", **how)
    alone = model.generate("red circle", to="audio", **how)
    # Rounding of batches of another size is multiplied by 10^mel: .00012 was seen.
    np.testing.assert_allclose(together[0].samples, alone.samples, atol=1e-3)
    plain = load(tiny_run).generate("red circle", to="audio", **how)
    assert len(plain.samples) == len(alone.samples)
    assert np.abs(plain.samples - alone.samples).max() > 1e-3
    assert isinstance(model.untrained(), Omni) and model.untrained().vocoder is model.vocoder


def test_the_command_line_takes_it(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "omni", "speak", "red circle", "--model", str(tiny_run)]
    command += ["--out", str(tmp_path), "--steps", "1", "--vocoder"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "000-red-circle.wav").frames > 1000
    done = subprocess.run(
        [*command, "no/such"], capture_output=True, text=True, cwd=tmp_path.parent
    )
    assert done.returncode == 2


def test_a_vocoder_that_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sampling_rate must be 24000, is 16000"):
        Vocoder(folder, replace(AudioConfig(), sample_rate=24_000))
    with pytest.raises(ValueError, match="model_in_dim must be 80, is 64"):
        Vocoder(write(tmp_path / "bands", model_in_dim=64), AudioConfig())
    with pytest.raises(ValueError, match="samples a frame must be 256, is 128"):
        Vocoder(write(tmp_path / "hop", upsample_rates=[4, 4, 4, 2]), AudioConfig())
    bert = BertConfig(hidden_size=16, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    BertModel(bert).save_pretrained(tmp_path / "bert")
    for name, message in (("bert", "speecht5_hifigan, is bert"), ("nothing", "nothing")):
        with pytest.raises(ValueError, match=message):
            Vocoder(tmp_path / name, AudioConfig())
