"""Generation around what is given, and away from what is not wanted."""

import numpy as np
import pytest
from PIL import Image

from omni import Audio, Keep, Omni
from omni.pipeline.synthetic import make_samples

WHOLE = [s for s in make_samples("test", 40) if None not in (s.image, s.audio, s.text)]


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(WHOLE[0].image.permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def recording() -> Audio:
    return Audio(WHOLE[0].audio.numpy().astype(np.float32) / 32768, 16_000)


def test_kept_pixels_come_back_and_the_rest_is_made(tiny_model: Omni, picture) -> None:
    whole, where = np.asarray(picture), np.zeros(picture.size[::-1], dtype=bool)
    where[:, :13] = True
    where[20:25, 20:] = True
    kept = Keep(picture, where)
    made = [
        np.asarray(tiny_model.generate(WHOLE[1].text, to="image", keep=kept, steps=4, seed=seed))
        for seed in (0, 1)
    ]
    for one in made:
        np.testing.assert_array_equal(one[where], whole[where])
    assert (made[0][~where] != made[1][~where]).mean() > 0.1
    free = np.asarray(tiny_model.generate(WHOLE[1].text, to="image", steps=4))
    assert (free[where] != whole[where]).any()  # control


def test_a_larger_picture_is_kept_as_the_model_sees_it(tiny_model: Omni, picture) -> None:
    large, where = picture.resize((64, 48)), np.zeros((48, 64), dtype=bool)
    where[:, :32] = True
    made = np.asarray(tiny_model.generate("red circle", "image", keep=Keep(large, where), steps=2))
    fitted = np.full((32, 32, 3), 255, np.uint8)
    fitted[4:28] = np.asarray(large.resize((32, 24), Image.Resampling.BILINEAR))
    assert np.abs(made[:, :15].astype(int) - fitted[:, :15]).max() <= 3  # two resamplers
    assert (made[:4] == 255).all()  # the margin stays white


def test_a_recording_goes_on_after_what_is_kept(tiny_model: Omni, recording: Audio) -> None:
    half = len(recording.samples) // 2
    where = np.arange(len(recording.samples)) < half
    made = [
        tiny_model.generate(WHOLE[1].text, to="audio", keep=Keep(recording, where), steps=4, seed=s)
        for s in (0, 1)
    ]
    for one in made:
        assert len(one.samples) >= len(recording.samples)
        np.testing.assert_array_equal(one.samples[:half], recording.samples[:half])
    assert (
        len(made[0].samples) != len(made[1].samples)
        or (made[0].samples[half + 800 :] != made[1].samples[half + 800 :]).any()
    )
    again = Audio(recording.samples[::2].copy(), 8_000)
    slow = tiny_model.generate("red bar", "audio", keep=Keep(again, where[::2]), steps=2)
    assert slow.sample_rate == 16_000 and len(slow.samples) >= len(recording.samples) - 1


def test_to_move_away_from_itself_is_not_to_move(tiny_model: Omni) -> None:
    text, other = WHOLE[0].text, next(s.text for s in WHOLE if s.text != WHOLE[0].text)
    pictures = {
        name: np.asarray(tiny_model.generate(text, "image", candidates=1, **settings), int)
        for name, settings in {
            "plain": {"guidance": 1.0},
            "itself": {"guidance": 3.0, "negative": text},
            "nothing": {"guidance": 3.0},
            "other": {"guidance": 3.0, "negative": other},
        }.items()
    }
    assert np.abs(pictures["itself"] - pictures["plain"]).max() <= 2
    for name in ("nothing", "other"):
        assert np.abs(pictures[name] - pictures["plain"]).max() > 8
    assert np.abs(pictures["nothing"] - pictures["other"]).max() > 8


@pytest.mark.parametrize(
    ("to", "where", "said"),
    [
        ("text", np.ones((32, 32), bool), "shape pictures and speech"),
        ("audio", np.ones((32, 32), bool), "keep must be of what is made, audio; got Image"),
        ("image", np.ones((32, 31), bool), r"must be bool \(32, 32\), as the original"),
        ("image", np.ones((32, 32)), "got torch.float64"),
    ],
)
def test_what_cannot_be_kept_is_told(
    tiny_model: Omni, picture: Image.Image, to: str, where: np.ndarray, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        tiny_model.generate("red circle", to=to, keep=Keep(picture, where))
