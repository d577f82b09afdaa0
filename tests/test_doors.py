"""One thing is prepared alike, through whichever door it comes in."""

import io
import struct
from base64 import b64encode
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, ImageCms
from torch import Tensor

import omni
from omni import Audio, Omni
from omni.items import to_sample
from omni.pipeline.decode import decode_image, read_image, to_pixels
from omni.pipeline.formats import FORMATS, endings
from omni.pipeline.sample import decode_sample
from omni.pipeline.video import decode_video
from omni.search.reading import look
from omni.serve.decoder import _sound
from omni.tools.abilities import _item

RATE = 16_000
Y, X = np.mgrid[:40, :60]
DISC = (Y - 20) ** 2 + (X - 30) ** 2 < 200
RED_DISC = np.zeros((40, 60, 4), np.uint8)
RED_DISC[DISC] = [255, 0, 0, 255]
"""transparent black around"""
ON_WHITE = np.where(DISC[..., None], [255, 0, 0], 255).astype(np.uint8)
RAMP = np.linspace(0, 65_535, 2400).reshape(40, 60)


def as_bytes(image: Image.Image, form: str, **options: Any) -> bytes:
    image.save(file := io.BytesIO(), form, **options)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = 6
    return exif


OPAQUE = Image.fromarray(ON_WHITE)
CLEAR = Image.fromarray(RED_DISC)
PALETTE = CLEAR.convert("RGB").convert("P")
GREY_16 = Image.fromarray(RAMP.astype(np.uint16))
PICTURES = {
    "transparent.png": as_bytes(CLEAR, "PNG"),
    "transparent.webp": as_bytes(CLEAR, "WEBP", lossless=True),
    "transparent.gif": as_bytes(CLEAR, "GIF"),
    "transparent.tiff": as_bytes(CLEAR, "TIFF"),
    "transparent.avif": as_bytes(CLEAR, "AVIF", quality=100, subsampling="4:4:4"),
    "palette.png": as_bytes(PALETTE, "PNG", transparency=PALETTE.getpixel((0, 0))),
    "grey and alpha.png": as_bytes(CLEAR.convert("LA"), "PNG"),
    "one bit.png": as_bytes(OPAQUE.convert("1"), "PNG"),
    "16 bits.png": as_bytes(GREY_16, "PNG"),
    "16 bits.tif": as_bytes(GREY_16, "TIFF"),
    "16 bits.pgm": as_bytes(GREY_16, "PPM"),
    "floats.tiff": as_bytes(Image.fromarray((RAMP / 65_535).astype(np.float32)), "TIFF"),
    "colour.bmp": as_bytes(OPAQUE, "BMP"),
    "colour.ppm": as_bytes(OPAQUE, "PPM"),
    "cmyk.tiff": as_bytes(OPAQUE.convert("CMYK"), "TIFF"),
    "upright.png": as_bytes(OPAQUE, "PNG", exif=turned()),
    "upright.webp": as_bytes(OPAQUE, "WEBP", lossless=True, exif=turned()),
    "upright.tiff": as_bytes(OPAQUE, "TIFF", exif=turned()),
    "upright.jpg": as_bytes(OPAQUE, "JPEG", exif=turned()),
    "photo.jfif": as_bytes(OPAQUE, "JPEG"),
    "a gif by another name.jpg": as_bytes(OPAQUE, "GIF"),
}


def pixels(item: Any) -> Tensor:
    image = to_sample(item, RATE).image
    assert image is not None
    return image


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_the_same_pixels_through_every_door(name: str, tmp_path: Path) -> None:
    data, path = PICTURES[name], tmp_path / name
    path.write_bytes(data)
    expected = read_image(data)
    # libjpeg-turbo decodes for us and for PIL, by another version.
    worst = 8 if data[:2] == b"\xff\xd8" else 0
    with Image.open(path) as image:
        opened = pixels(image)
    doors = {
        "omni.read": pixels(omni.read(path)),
        "PIL": opened,
        "PIL in memory": pixels(Image.open(io.BytesIO(data))),
        "an assistant": pixels(_item(image=b64encode(data).decode())),
        "index": pixels(next(look(tmp_path, []))[1]["image"]),
    }
    extension = path.suffix[1:]
    if FORMATS[extension].in_shards and data[:3] != b"GIF":
        shard = decode_sample("a", {extension: data}, RATE).image
        assert shard is not None
        doors["shard"] = shard
    for door, found in doors.items():
        assert found.shape == expected.shape, door
        assert int((found.int() - expected.int()).abs().max()) <= worst, door


@pytest.mark.parametrize("name", [n for n in PICTURES if n.startswith("transparent")])
def test_what_is_transparent_is_white(name: str) -> None:
    found = read_image(PICTURES[name]).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - ON_WHITE).max() <= 2
    assert decode_image(PICTURES["transparent.png"]).float().mean() > 200, "not black"


def lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    result = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert result is not None
    return result


GREY = OPAQUE.convert("L")
WIDE_GREY = Image.fromarray(np.asarray(GREY).astype(np.int32) * 257)
MODES: dict[str, tuple[Image.Image, Image.Image, int]] = {
    **{m: (OPAQUE.convert(m), OPAQUE, 2) for m in ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")},
    "LAB": (lab(OPAQUE), OPAQUE, 8),
    "RGBa": (CLEAR.convert("RGBa"), OPAQUE, 0),
    "P": (OPAQUE.convert("P"), OPAQUE, 0),
    "PA": (OPAQUE.convert("P").convert("PA"), OPAQUE, 0),
    "L": (GREY, GREY, 0),
    "LA": (CLEAR.convert("LA"), Image.fromarray(np.where(DISC, 76, 255).astype(np.uint8)), 0),
    "La": (GREY.convert("LA").convert("La"), GREY, 1),
    "I": (GREY.convert("I"), GREY, 0),
    "F": (GREY.convert("F"), GREY, 0),
    "F to 1": (Image.fromarray(np.asarray(GREY).astype(np.float32) / 255), GREY, 0),
    "I to 65535": (WIDE_GREY, GREY, 0),
    **{m: (WIDE_GREY.convert(m), GREY, 0) for m in ("I;16", "I;16L", "I;16B")},
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pil_becomes_the_same_colours(mode: str) -> None:
    image, expected, tolerance = MODES[mode]
    found = to_pixels(image).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.asarray(expected.convert("RGB"))).max() <= tolerance


@pytest.mark.parametrize("worst", [-1.0, 70_000.0, np.nan, np.inf])
def test_levels_that_nobody_can_scale_are_refused(worst: float) -> None:
    levels = np.zeros((4, 4), np.float32)
    levels[0, 0] = worst
    with pytest.raises(ValueError, match=r"mode F must be 0 \.\.\. 65535"):
        to_pixels(Image.fromarray(levels))


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="a picture must have pixels, got 0 x 5"):
        to_pixels(Image.new("RGB", (0, 5)))


TONE = (np.sin(np.arange(RATE // 2) * 0.17) * 0.3).astype(np.float32)


def encoded(codec: str, form: str) -> bytes:
    """The tone by FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as out:
        stream = out.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((TONE * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


def written(form: str, subtype: str) -> bytes:
    soundfile.write(file := io.BytesIO(), TONE, RATE, subtype, format=form)
    return file.getvalue()


SOUNDS = {
    "a.wav": written("WAV", "PCM_16"),
    "24 bits.wav": written("WAV", "PCM_24"),
    "floats.wav": written("WAV", "FLOAT"),
    "a.flac": written("FLAC", "PCM_16"),
    "a.ogg": written("OGG", "VORBIS"),
    "a.oga": written("OGG", "VORBIS"),
    "a.mp3": written("MP3", "MPEG_LAYER_III"),
    "a.aiff": written("AIFF", "PCM_16"),
    "a.aif": written("AIFF", "FLOAT"),
    "a.au": written("AU", "PCM_16"),
    "a.caf": written("CAF", "PCM_16"),
    "a.m4a": encoded("aac", "ipod"),
    "a.aac": encoded("aac", "adts"),
    "a.weba": encoded("libopus", "webm"),
    "sound alone.webm": encoded("libopus", "webm"),
    "sound alone.mp4": encoded("aac", "mp4"),
    "a.mka": encoded("pcm_s16le", "matroska"),
}


def samples(item: Any) -> Tensor:
    audio = to_sample(item, RATE).audio
    assert audio is not None
    return audio


@pytest.mark.parametrize("name", SOUNDS)
def test_a_recording_has_the_same_samples_through_every_door(name: str, tmp_path: Path) -> None:
    data, path = SOUNDS[name], tmp_path / name
    path.write_bytes(data)
    expected = samples(omni.read(path))
    rms = expected.float().square().mean().sqrt()
    assert rms == pytest.approx(0.3 * 32768 / 2**0.5, rel=0.15)
    doors = {
        "service": samples(_sound(data, RATE)),
        "an assistant": samples(_item(audio=b64encode(data).decode())),
        "index": samples(next(look(tmp_path, []))[1]["image" if "alone" in name else "audio"]),
    }
    extension = path.suffix[1:]
    if FORMATS[extension].in_shards:
        shard = decode_sample("a", {extension: data}, RATE).audio
        assert shard is not None
        doors["shard"] = shard
    for door, found in doors.items():
        assert torch.equal(found, expected), door


@pytest.mark.parametrize(
    "kind", ["int8", "int16", "int32", "uint8", "float16", "float32", "float64"]
)
def test_samples_are_taken_by_the_range_of_their_type(kind: str) -> None:
    expected = samples(Audio(TONE, RATE)).float()
    if kind == "uint8":
        given = np.rint(TONE * 128 + 128).astype(kind)
    elif kind.startswith("int"):
        given = np.rint(TONE.astype(np.float64) * 2.0 ** (np.iinfo(kind).bits - 1)).astype(kind)
    else:
        given = TONE.astype(kind)
    found = samples(Audio(given, RATE)).float()
    coarse = {"int8": 129, "uint8": 129, "float16": 8}
    assert float((found - expected).abs().max()) <= coarse.get(kind, 1)


@pytest.mark.parametrize("rate", [0, -1, 0.5, 16_000.5, np.nan, np.inf, 200_000])
def test_a_sample_rate_that_no_recording_has_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"sample rate must be (1 to 192000|a whole number of) Hz"):
        Audio(TONE, rate)  # type: ignore[arg-type]
    whole, fraction = Audio(TONE, 16_000), Audio(TONE, 16_000.0)  # type: ignore[arg-type]
    assert torch.equal(samples(fraction), samples(whole))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (TONE * 32767, "finite numbers within ±1, the largest is 98"),
        (np.full(9, np.nan, np.float32), "the largest is nan"),
        (np.zeros((800, 2), np.float32), "one row of samples"),
        (np.zeros(9, np.uint16), "got uint16"),
        (np.zeros(9, bool), "got bool"),
        (np.zeros(9, complex), "got complex128"),
    ],
)
def test_samples_that_mean_nothing_are_refused(given: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Audio(given, RATE)


def phone_video(rotation: str) -> bytes:
    """A film whose header says that it is turned, as a phone writes it: left red, right blue."""
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :32, 0] = frame[:, 32:, 2] = 255
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        if rotation == "wide":
            stream.codec_context.sample_aspect_ratio = 2
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    data = bytearray(file.getvalue())
    if rotation == "turned":
        one = 1 << 16
        clockwise = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
        at = data.index(b"tkhd") + 44
        data[at : at + 36] = clockwise
    return bytes(data)


def test_a_film_of_a_phone_stands_upright() -> None:
    plain, _, _ = decode_video(phone_video(""))
    turned_, _, _ = decode_video(phone_video("turned"))
    assert plain is not None and turned_ is not None
    assert plain.shape[-2:] == (32, 64) and turned_.shape[-2:] == (64, 32)
    assert plain[0, 0, :, :28].float().mean() > 200
    assert turned_[0, 0, :28].float().mean() > 200, "what was left is above, turned clockwise"
    assert turned_[0, 2, 36:].float().mean() > 200


def test_wide_pixels_become_square() -> None:
    wide, _, _ = decode_video(phone_video("wide"))
    assert wide is not None and wide.shape[-2:] == (32, 128)


def test_a_path_is_read_and_its_name_is_no_text(tiny_model: Omni, tmp_path: Path) -> None:
    path = tmp_path / "red circle.png"
    OPAQUE.save(path)
    expected = tiny_model.embed(omni.read(path))
    torch.testing.assert_close(tiny_model.embed(path), expected)
    torch.testing.assert_close(tiny_model.embed((path, "a")), tiny_model.embed((OPAQUE, "a")))
    assert tiny_model.generate(path, to="text") == tiny_model.generate(OPAQUE, to="text")
    with pytest.raises(ValueError, match=r"is a file: give omni.read\("):
        tiny_model.generate(str(path), to="text")
    assert tiny_model.embed(omni.Text(path)).shape == expected.shape
    with pytest.raises(ValueError, match="no such file"):
        tiny_model.embed(tmp_path / "missing.png")
    tiny_model.embed("missing.png")  # a text, where there is no such file


def test_every_ending_is_in_a_table_above() -> None:
    tried = {name.rsplit(".", 1)[-1] for name in (*PICTURES, *SOUNDS)}
    same_as = {"jpeg", "jpe", "pbm", "opus", "aifc"}
    no_coder = {"amr", "wma"}  # that writes them
    assert {*endings("image", "audio")} - tried <= same_as | no_coder
