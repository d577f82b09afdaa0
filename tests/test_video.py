"""Videos: what is kept of a file, and that its frames and its sound are what the model sees."""

import io
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from omni import Audio, Omni, Video, read
from omni.pipeline.video import FRAMES, decode_video

SIZE, RATE = 64, 16_000


def film(
    levels: Sequence[int], container: str = "webm", seconds: float = 2.0, sound: bool = True
) -> bytes:
    """Grey frames, ten a second, and a tone of 440 Hz."""
    codecs = {"webm": ("libvpx", "libopus"), "mp4": ("mpeg4", "aac"), "avi": ("mpeg4", "mp3")}
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        video = out.add_stream(codecs[container][0], rate=10)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        name, layout = codecs[container][1], {"layout": "mono"}
        audio = out.add_stream(name, rate=48_000, **layout) if sound else None
        for level in levels:
            frame = np.full((SIZE, SIZE, 3), level, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(video.encode())
        if audio is not None:
            tone = np.sin(2 * np.pi * 440 * np.arange(int(48_000 * seconds)) / 48_000)
            samples = (tone * 16_000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 48_000
            out.mux(audio.encode(frame))
            out.mux(audio.encode())
    return file.getvalue()


@pytest.mark.parametrize("container", ["webm", "mp4", "avi"])
def test_frames_are_spread_evenly_and_come_in_their_order(container: str) -> None:
    levels = [10 * i for i in range(24)]
    pixels, samples, rate = decode_video(film(levels, container))
    assert pixels.shape == (FRAMES, 3, SIZE, SIZE) and pixels.dtype == torch.uint8
    found = pixels.float().mean((1, 2, 3))
    assert (found.diff() > 10).all() and found[0] < 15 and found[-1] > 205
    assert samples is not None and samples.dtype == torch.int16
    assert len(samples) / rate == pytest.approx(2.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples[rate // 2 : rate // 2 + rate].numpy()))
    assert spectrum.argmax() == pytest.approx(440, abs=2)


def test_a_short_film_has_as_many_frames_as_it_has_and_may_be_silent() -> None:
    pixels, samples, _ = decode_video(film([50, 100, 200], sound=False))
    assert len(pixels) == 3 and samples is None


@pytest.mark.parametrize(
    ("data", "extension"),
    [
        (film([9] * 8)[:400], "webm"),
        (b"", "mp4"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "mp4"),
    ],
    ids=["truncated", "empty", "playlist"],
)
def test_what_is_no_video_is_told(data: bytes, extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"film.{extension}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"film.{extension}: .*(cannot be decoded|no video)"):
        read(path)


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni.pipeline.video.MAX_FRAMES", 10)
    with pytest.raises(ValueError, match="allowed are 10 frames"):
        decode_video(film([9] * 20))
    monkeypatch.setattr("omni.pipeline.video.MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="allowed are 100 pixels of a frame"):
        decode_video(film([9] * 20))


def test_a_video_is_its_frames_in_order_and_its_sound(tiny_model: Omni, tmp_path: Path) -> None:
    a, b = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    there, back, single = tiny_model.embed([Video([a, b]), Video([b, a]), Video([a])])
    torch.testing.assert_close(single, tiny_model.embed(a)[0], atol=1e-5, rtol=0)
    assert (there - back).abs().max() > 1e-4  # time is seen
    between = tiny_model.embed([a, b]).mean(0)
    assert there @ between > 0.7 * between.norm()
    still, other = tiny_model.embed([Video([a] * 8), b])
    assert still @ single > 0.9 > other @ single  # where nothing moves it is its picture
    tone = Audio(np.sin(np.arange(8000) / 5).astype(np.float32) / 2, RATE)
    heard = tiny_model.embed([Video([a, b], tone), (Video([a, b]), tone)])
    torch.testing.assert_close(heard[0], heard[1], atol=1e-5, rtol=0)
    assert (heard[0] - there).abs().max() > 1e-3
    (tmp_path / "film.webm").write_bytes(film([10 * i for i in range(20)]))
    film_read = read(tmp_path / "film.webm")
    assert isinstance(film_read, Video) and film_read.audio is not None
    assert isinstance(tiny_model.generate(film_read, to="text"), str)


def test_a_video_that_is_none_is_refused(tiny_model: Omni) -> None:
    for frames in ([], [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 9))]):
        with pytest.raises(ValueError, match="frames, all of one size"):
            tiny_model.embed(Video(frames))
    with pytest.raises(ValueError, match="two of audio"):
        tone = Audio(np.zeros(4000, np.float32) + 0.1, RATE)
        tiny_model.embed((Video([Image.new("RGB", (8, 8))], tone), tone))
