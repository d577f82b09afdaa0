"""Long recordings are written down whole, and long texts spoken whole, piece by piece."""

import numpy as np
import pytest

from omni import Audio, Omni
from omni.chunks import join, split, split_sound, split_text
from omni.modality.text import Tokenizer
from omni.pipeline.synthetic import RATE, make_samples
from omni.presets import debug


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["red green blue circle square"], ["en"], 300)


def test_sound_is_cut_where_it_is_quiet_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(10 * RATE).astype(np.float32) / 4
    pauses = [1.4, 2.9, 4.1, 5.7, 7.2, 8.5]
    for second in pauses:
        samples[int(second * RATE) : int((second + 0.1) * RATE)] *= 0.001
    pieces = split_sound(Audio(samples, RATE), 2.0)
    assert np.array_equal(join(pieces).samples, samples)
    assert all(len(piece.samples) <= 2 * RATE for piece in pieces)
    ends = np.cumsum([len(piece.samples) for piece in pieces])[:-1] / RATE
    assert len(ends) == len(pauses)
    for end, pause in zip(ends, pauses, strict=True):
        assert pause <= end <= pause + 0.1
    assert len(split_sound(Audio(samples[:RATE], RATE), 2.0)) == 1


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_pieces_of_a_few_samples_end(length: int) -> None:
    sound = Audio(np.ones(50, np.float32), RATE)
    pieces = split_sound(sound, length / RATE)
    assert sum(len(piece.samples) for piece in pieces) == 50
    assert all(0 < len(piece.samples) <= length for piece in pieces)


def test_text_is_cut_between_sentences_or_else_words(tokenizer: Tokenizer) -> None:
    text = "Red circle. Green square! A blue circle in a very large red square 一。二。"
    pieces = split_text(text, tokenizer, 30)
    assert pieces[0] == "Red circle. Green square!"
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(len(tokenizer.encode(piece, 999)) <= 30 for piece in pieces)
    assert split_text("red circle", tokenizer, 30) == ["red circle"]
    # A word that is too long by itself stays one: the model cuts it.
    assert split_text("red " + "x" * 50, tokenizer, 30) == ["red", "x" * 50]


def test_a_question_is_not_cut(tokenizer: Tokenizer) -> None:
    model = debug().model
    tone = 0.1 * np.sin(np.arange(16_000 * 3) * 0.2)
    long = Audio(tone.astype(np.float32), 16_000)
    asked = (long, "what is that? " * 20)
    assert split(asked, "text", model, tokenizer) == [asked]
    assert len(split(long, "text", model, tokenizer)) > 1


def test_a_long_recording_is_written_down_whole(tiny_model: Omni) -> None:
    whole = [s for s in make_samples("test") if s.audio is not None and s.text is not None][:3]
    sounds = [Audio(s.audio.numpy().astype(np.float32) / 32768, RATE) for s in whole]
    seconds = tiny_model.config.model.audio.max_seconds
    pause = np.zeros(int(0.06 * RATE), np.float32)
    padded = [
        np.concatenate([s.samples, np.zeros(max(0, int(seconds * RATE) - len(s.samples)))])
        for s in sounds
    ]
    quiet = [np.concatenate([p[: -len(pause)], pause]).astype(np.float32) for p in padded]
    said = tiny_model.generate([Audio(q, RATE) for q in quiet], to="text")
    together = Audio(np.concatenate(quiet), RATE)
    found = tiny_model.generate([together, sounds[0]], to="text")
    assert len(found[0].split()) >= 2 * len(said) - 2
    assert found[1] == tiny_model.generate(sounds[0], to="text")


def test_a_long_text_is_spoken_whole_and_its_neighbours_are_what_they_were(
    tiny_model: Omni, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, long = ["blue square", "green bar"], "red circle. " * 6
    # Longer than the model can speak at once.
    spoken = tiny_model.generate(long, to="audio", seed=3)
    assert len(spoken.samples) > tiny_model.config.model.audio.max_seconds * RATE
    # Spectra, not samples: Griffin-Lim's phases multiply what another batch size rounds.
    monkeypatch.setattr(tiny_model, "invert", lambda mel: mel.flatten())
    alone = tiny_model.generate(texts, to="audio", seed=3)
    beside = tiny_model.generate([*texts, long], to="audio", seed=3)
    for a, b in zip(alone, beside, strict=False):
        np.testing.assert_allclose(a.samples, b.samples, atol=1e-3)
