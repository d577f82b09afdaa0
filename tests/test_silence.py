"""What is quiet around a recording does not count, and what is silent has no words."""

import numpy as np
import pytest

from omni import Audio, Omni
from omni.encoding import WINDOWS
from omni.items import Video
from omni.silence import find_sound

RATE = 16_000


def hush(seconds: float, level: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """White noise at a level in dB of full scale; zeros where that is minus infinity."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate))
    return (noise * 10 ** (level / 20)).astype(np.float32)


def word(seconds: float = 0.6, soft: float = 0.0, rate: int = RATE) -> np.ndarray:
    """A tone that falls, after `soft` seconds of an onset that rises from 40 dB below it."""
    time = np.arange(int(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) * np.exp(-3 * time)
    rise = 10 ** (2 * np.clip(time / soft - 1, -1, 0)) if soft else 1.0
    return (tone * rise).astype(np.float32)


@pytest.mark.parametrize("level", [-np.inf, -80.0, -60.0, -45.0])
@pytest.mark.parametrize(("before", "after"), [(0.1, 0.0), (0.5, 0.5), (0.0, 1.0), (8.0, 3.0)])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_hush_around_a_word_is_cut(level: float, before: float, after: float, rate: int) -> None:
    lead, trail = hush(before, level, rate=rate), hush(after, level, seed=1, rate=rate)
    sound = np.concatenate([lead, word(rate=rate), trail])
    found = find_sound(sound, rate)
    assert found is not None
    assert abs(found.start - len(lead)) < 0.03 * rate
    assert len(lead) + 0.5 * rate < found.stop < len(lead) + 0.75 * rate
    assert find_sound(sound + np.float32(0.1), rate) == found, "a constant is not heard"
    as_integers = find_sound((sound * 32767).astype(np.int16), rate)
    assert as_integers is not None and abs(as_integers.start - found.start) < 0.02 * rate


@pytest.mark.parametrize("sound", [word(), word(soft=0.15), word() + hush(0.6, -20), word(0.02)])
def test_a_word_alone_stays_whole_however_softly_it_begins(sound: np.ndarray) -> None:
    found = find_sound(sound, RATE)
    assert found is not None
    assert found.start == 0
    assert found.stop > 0.9 * len(sound)


@pytest.mark.parametrize("level", [-np.inf, -90.0, -60.0, -45.0])
@pytest.mark.parametrize("seconds", [0.005, 0.3, 10.0])
def test_silence_has_no_sound(level: float, seconds: float) -> None:
    assert find_sound(hush(seconds, level), RATE) is None
    assert find_sound(hush(seconds, level) + np.float32(0.5), RATE) is None


@pytest.mark.parametrize("seconds", [0.3, 5.0])
def test_of_silence_nothing_is_written(tiny_model: Omni, seconds: float) -> None:
    silence = Audio(hush(seconds, -60), RATE)
    texts = tiny_model.generate([silence, Audio(word(), RATE), silence], to="text")
    assert texts[0] == texts[2] == ""
    assert texts[1] == tiny_model.generate(Audio(word(), RATE), to="text")
    assert tiny_model.embed(silence).isfinite().all()


def test_a_word_in_hush_is_embedded_as_alone(tiny_model: Omni) -> None:
    alone = tiny_model.embed(Audio(word(), RATE))
    around = np.concatenate([hush(1.5, -70), word(), hush(2.0, -70, seed=1)])
    in_hush = float(alone @ tiny_model.embed(Audio(around, RATE)).T)
    noise = float(alone @ tiny_model.embed(Audio(hush(0.6, -12), RATE)).T)
    assert in_hush > 0.99
    assert 1 - noise > 5 * (1 - in_hush), "the control: another sound is not so near"


def test_the_end_of_a_long_recording_is_heard(tiny_model: Omni) -> None:
    """Not the first seconds alone; and one that is very long is heard in a few places."""
    limit = int(tiny_model.config.model.audio.max_seconds * RATE)
    first = np.tile(word(), 5 * limit // len(word()))[: 2 * limit]
    changed = np.concatenate([first[:limit], hush(limit / RATE, -10)])
    vectors = tiny_model.embed([Audio(first, RATE), Audio(changed, RATE), Audio(first, RATE)])
    assert float(vectors[0] @ vectors[1]) < 0.999
    assert float(vectors[0] @ vectors[2]) > 0.9999
    alone = tiny_model.embed(Audio(first, RATE))[0]
    assert float(vectors[0] @ alone) > 0.9999, "neighbours do not matter"
    long = np.tile(first, 2 * WINDOWS)
    assert tiny_model.embed(Audio(long, RATE)).isfinite().all()
    assert tiny_model.match((Audio(long, RATE), "a word")).shape == (1, 5)


def test_the_sound_of_a_video_may_be_long(tiny_model: Omni) -> None:
    from PIL import Image

    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    sound = Audio(np.tile(word(), 9), RATE)
    assert tiny_model.embed(Video(frames, sound)).isfinite().all()
