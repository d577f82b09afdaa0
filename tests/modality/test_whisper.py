"""The encoder of a Whisper as the encoder of sound, beside that of transformers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, WhisperConfig, WhisperFeatureExtractor, WhisperModel

from omni.batch import Part
from omni.config import AudioConfig, DataConfig
from omni.generate import as_heard
from omni.modality.text import Tokenizer
from omni.modality.tower import AudioTower, WhisperMel
from omni.network import Network
from omni.pipeline.loader import Loader
from omni.presets import debug

SETTINGS = WhisperConfig(
    d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=48,
    decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=48, vocab_size=64,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    dropout=0.1, encoder_layerdrop=0.5,
)  # fmt: skip
CONFIG = AudioConfig(encoder=SETTINGS.to_json_string(use_diff=True), max_seconds=30.0)


@pytest.fixture(scope="module")
def voices() -> list[torch.Tensor]:
    """Recordings of the sample, int16 at 16 kHz."""
    samples = Loader(DataConfig()).examples(8, 16_000)
    return [sample.audio for sample in samples if sample.audio is not None]


@pytest.fixture(scope="module")
def half_minute(voices: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(voices * 20)[: 30 * 16_000]


@pytest.fixture(scope="module")
def theirs() -> WhisperModel:
    torch.manual_seed(3)
    return WhisperModel(SETTINGS).eval()


@pytest.fixture(scope="module")
def tower(theirs: WhisperModel) -> AudioTower:
    torch.manual_seed(4)
    tower = AudioTower(CONFIG, 16)
    tower.encoder.load_state_dict(theirs.encoder.state_dict())
    return tower


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("samples", [480_000, 479_930, 100_001, 9_000])
def test_frames_are_whisper_s(half_minute: torch.Tensor, bands: int, samples: int) -> None:
    wave = half_minute[:samples]
    extractor = WhisperFeatureExtractor(bands)
    said = extractor((wave.numpy() / 32768).astype(np.float32), sampling_rate=16_000)
    expected = torch.from_numpy(said["input_features"][0])
    mel = WhisperMel(bands, 3000)
    frames = mel(wave[None])[0]
    assert frames.shape[1] == int(mel.num_frames(torch.tensor([samples]))) <= 3000
    torch.testing.assert_close(frames, expected[:, : frames.shape[1]], atol=1e-4, rtol=0)
    rest = expected[:, frames.shape[1] + 2 :]
    floor = mel.silence(frames[None], torch.tensor([frames.shape[1]]))
    torch.testing.assert_close(rest, floor[0].expand_as(rest), atol=1e-4, rtol=0)


def test_half_a_minute_is_encoded_as_by_whisper_also_in_training(
    tower: AudioTower, theirs: WhisperModel, half_minute: torch.Tensor
) -> None:
    frames = tower.hearing(half_minute[None])
    with torch.no_grad():
        expected = tower.project(theirs.encoder(frames).last_hidden_state)
        for training in (False, True):
            tokens = tower.train(training)(frames, torch.tensor([3000]))
            torch.testing.assert_close(tokens.x, expected, atol=1e-5, rtol=0)
    assert tokens.mask.all() and tokens.x.shape == (1, 1500, 16)


@pytest.fixture(scope="module")
def network(tower: AudioTower) -> Network:
    torch.manual_seed(0)
    model = replace(debug().model, audio=replace(CONFIG, max_seconds=2.0))
    network = Network(model, Tokenizer.train(["red dot"], ["en"], 300)).eval()
    network.encoders["audio"].encoder.load_state_dict(tower.encoder.state_dict())
    return network


def together(sounds: list[torch.Tensor], more: int = 0) -> Part:
    lengths = torch.tensor([len(sound) for sound in sounds])
    rows = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True)
    return Part(torch.nn.functional.pad(rows, (0, more)), torch.arange(len(sounds)), lengths)


@pytest.mark.parametrize("more", [0, 1, 163, 8000])
def test_batched_and_padded_equals_single(
    network: Network, voices: list[torch.Tensor], more: int
) -> None:
    sounds = [voices[0], voices[1][:3203], voices[2][:201]]
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    image = network.encode("image", Part(pictures, torch.arange(3), torch.ones(3).long()))
    with torch.no_grad():
        tokens = network.encode("audio", together(sounds, more))
        alone, both = network.fuse(tokens).vector, network.fuse(image, tokens).vector
        for i, sound in enumerate(sounds):
            one = network.encode("audio", together([sound]))
            count = one.x.shape[1]
            assert int(tokens.mask[i].sum()) == count
            torch.testing.assert_close(tokens.x[i, :count], one.x[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(network.fuse(one).vector[0], alone[i], atol=1e-5, rtol=0)
            pair = network.fuse(image[torch.tensor([i])], one).vector[0]
            torch.testing.assert_close(pair, both[i], atol=1e-5, rtol=0)
        assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_augmentation_is_blind_to_neighbours_and_hides_with_silence(
    network: Network, voices: list[torch.Tensor]
) -> None:
    few = [voices[0], voices[1][:3203]] * 8
    few = [torch.nn.functional.pad(x, (0, -len(x) % 6400)) for x in few]
    part = together(few)
    lengths = torch.tensor([len(voices[0]), 3203] * 8)
    part = replace(part, lengths=lengths)
    keys = torch.arange(16)
    frames, stretched = network.prepare("audio", part, keys)
    plain = network.prepare("audio", part)[0]
    assert frames.shape == plain.shape
    assert len({*stretched[::2].tolist()}) > 2
    flat = frames.flatten(1)  # what is hidden is of one value
    assert (flat == flat.mode(1, keepdim=True).values).sum(1).gt(50).all()
    for i in (0, 1, 5):
        size = len(few[i])
        one = Part(part.data[i : i + 1, :size], torch.tensor([0]), lengths[i : i + 1])
        alone, length = network.prepare("audio", one, keys[i : i + 1])
        assert length == stretched[i]
        x, y = alone[0, :, :length], frames[i, :, :length]
        torch.testing.assert_close(x, y, atol=5e-5, rtol=0)
        assert (y - frames[i + 2, :, :length]).abs().max() > 0.1


def test_speech_that_was_made_is_heard_like_its_recording(
    network: Network, voices: list[torch.Tensor]
) -> None:
    log_mel = network.log_mel
    errors, controls = [], []
    for i, voice in enumerate(voices):
        frames = log_mel(voice[None])
        heard, lengths = as_heard(network, "audio", frames, torch.tensor([frames.shape[2]]))
        size = int(lengths)
        expected, other = (network.hearing(x[None])[..., :size] for x in (voice, voices[i - 1]))
        errors.append((heard[..., : expected.shape[2]] - expected).abs().mean())
        size = min(size, other.shape[2])
        controls.append((heard[..., :size] - other[..., :size]).abs().mean())
    # Worst seen: 0.108, a mean of 0.083; of other recordings 0.36 to 0.48.
    assert max(errors) < 0.15 < 0.3 < min(controls)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 24_000}, "hears 30 s of 16000 Hz; .* sample_rate 24000"),
        ({"max_seconds": 31.0}, "max_seconds 31"),
        ({"encoder": BertConfig().to_json_string()}, "must be a whisper, got bert"),
    ],
)
def test_what_a_whisper_cannot_hear_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AudioTower(replace(CONFIG, **change), 16)
