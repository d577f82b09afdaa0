"""Unusual members that are in order: decoded as the docstring of omni.pipeline.decode says."""

import json
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from omni.pipeline.decode import (
    audio_info,
    decode_audio,
    decode_image,
    decode_json,
    decode_text,
    image_size,
    texts_of,
)
from omni.pipeline.formats import MAX_SCANS
from tests.pipeline.hostile import (
    chunk,
    exif,
    floats,
    picture,
    png,
    recording,
    rows_of,
    wav,
    without_xing,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (16, 24, 3), np.uint8)
OTHER = 255 - NOISE
SMOOTH = np.indices((16, 24))[[0, 1, 0]].transpose(1, 2, 0).astype(np.uint8) * 8
"""no two corners alike, and smooth, so that JPEG keeps it"""
LOSS = 8
"""of a JPEG; worst seen: 7"""
ALPHA = RNG.integers(0, 256, (16, 24), np.uint8)
DEEP = RNG.integers(0, 65_536, (16, 24), np.uint16)
GREY = NOISE[:, :, :1].repeat(3, 2)
ON_WHITE = np.rint(255 + (NOISE - 255.0) * ALPHA[:, :, None] / 255).astype(np.uint8)
GREY_ON_WHITE = ON_WHITE[:, :, :1].repeat(3, 2)
SCALED = np.rint(DEEP / 257).astype(np.uint8)[:, :, None].repeat(3, 2)
LEVELS = NOISE[:, :, 0] % 4
COLOURS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [9, 9, 9]], np.uint8)
INDEXED = Image.fromarray(LEVELS)
INDEXED.putpalette(COLOURS.tobytes())
BITS = NOISE[:, :, 0] > 128
DEEP_RGB = RNG.integers(0, 65_536, (16, 24, 3), np.uint16)
LINE = RNG.integers(0, 256, (20_000, 1, 3), np.uint8)


def smooth(mode: str = "RGB", **options: object) -> bytes:
    return picture(Image.fromarray(SMOOTH).convert(mode), "JPEG", quality=95, **options)


def with_alpha(kind: str, **options: object) -> bytes:
    return picture(np.dstack([NOISE, ALPHA]), kind, **options)


PICTURES = {
    "progressive JPEG": (smooth(progressive=True), SMOOTH, LOSS),
    "grey JPEG": (smooth("L"), np.asarray(Image.fromarray(SMOOTH).convert("L"))[:, :, None], LOSS),
    "CMYK JPEG": (smooth("CMYK"), SMOOTH, LOSS),
    "JPEG with a film behind": (smooth() + b"\xff\xda" * 2 * MAX_SCANS, SMOOTH, LOSS),
    "EXIF of garbage": (smooth(exif=b"Exif\0\0" + RNG.bytes(99)), SMOOTH, LOSS),
    "EXIF cut": (smooth(exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"), SMOOTH, LOSS),
    "EXIF that points out": (smooth(exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), SMOOTH, LOSS),
    "EXIF that turns by 9": (exif(NOISE, "PNG", 9), NOISE, 0),
    "one pixel": (picture(NOISE[:1, :1], "PNG"), NOISE[:1, :1], 0),
    "1 x 20,000": (picture(LINE, "PNG"), LINE, 0),
    "palette": (picture(INDEXED, "PNG"), COLOURS[LEVELS], 0),
    "palette and a clear colour": (
        picture(INDEXED, "PNG", transparency=2),
        np.where(LEVELS[:, :, None] == 2, 255, COLOURS[LEVELS]),
        0,
    ),
    "palette and half a colour": (
        picture(INDEXED, "PNG", transparency=b"\xff\xff\xff\x80"),
        np.where(LEVELS[:, :, None] == 3, 132, COLOURS[LEVELS]),
        1,
    ),
    "1 bit": (picture(Image.fromarray(BITS), "PNG"), BITS[:, :, None] * np.uint8(255), 0),
    "16-bit grey": (picture(DEEP, "PNG"), SCALED, 0),
    "16-bit RGB": (png(24, 16, 16, 2, rows_of(DEEP_RGB)), np.rint(DEEP_RGB / 257), 1),
    "RGB and alpha": (with_alpha("PNG"), ON_WHITE, 1),
    "WebP and alpha": (with_alpha("WEBP", lossless=True, exact=True), ON_WHITE, 1),
    "grey and alpha": (
        png(24, 16, 8, 4, rows_of(np.dstack([NOISE[:, :, 0], ALPHA]))),
        GREY_ON_WHITE,
        1,
    ),
    "16-bit grey and a clear level": (
        png(24, 16, 16, 0, rows_of(DEEP), chunk(b"tRNS", struct.pack(">H", DEEP[0, 0]))),
        np.where(DEEP[:, :, None] == DEEP[0, 0], 255, SCALED),
        0,
    ),
    "RGB and a clear colour": (
        picture(NOISE, "PNG", transparency=tuple(NOISE[0, 0].tolist())),
        np.where((NOISE[0, 0] == NOISE).all(2, keepdims=True), 255, NOISE),
        0,
    ),
    "animated WebP": (
        picture(
            NOISE, "WEBP", save_all=True, append_images=[Image.fromarray(OTHER)], lossless=True
        ),
        NOISE,
        0,
    ),
    "animated PNG": (
        picture(NOISE, "PNG", save_all=True, append_images=[Image.fromarray(OTHER)]),
        NOISE,
        0,
    ),
    "PNG in strips": (picture(np.tile(NOISE, (99, 99, 1)), "PNG"), np.tile(NOISE, (99, 99, 1)), 0),
}


@pytest.mark.parametrize(("content", "pixels", "tolerance"), PICTURES.values(), ids=PICTURES)
def test_an_unusual_picture_has_the_pixels_that_are_documented(content, pixels, tolerance) -> None:
    decoded = decode_image(content).permute(1, 2, 0).numpy()
    assert decoded.dtype == np.uint8
    assert decoded.shape == (*pixels.shape[:2], 3)
    assert image_size(content) == (decoded.shape[1], decoded.shape[0])
    difference = np.abs(decoded - pixels.astype(np.int64)).max()
    assert difference <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_tag_says(kind: str, orientation: int) -> None:
    content = exif(SMOOTH, kind, orientation)
    tags = Image.Exif()
    tags[0x112] = orientation
    plain = Image.fromarray(SMOOTH)
    plain.info["exif"] = tags.tobytes()
    expected = np.asarray(ImageOps.exif_transpose(plain), np.int64)
    decoded = decode_image(content).permute(1, 2, 0).numpy()
    assert np.abs(decoded - expected).max() <= (LOSS if kind == "JPEG" else 0)
    assert orientation == 1 or decoded.shape != SMOOTH.shape or (decoded != SMOOTH).any()


def test_a_jpeg_goes_into_the_memory_given_unless_it_must_be_turned() -> None:
    square = SMOOTH[:, :16].copy()
    for orientation in range(1, 9):
        out = np.zeros_like(square)
        decoded = decode_image(exif(square, "JPEG", orientation), out)
        assert np.shares_memory(decoded.numpy(), out) == (orientation == 1)
        assert out.any() == (orientation == 1)


STEREO = np.array([[3, 4], [-3, -4], [100, -100], [32767, 32767], [-32768, -32768]], np.int16)
MEANS = [4, -4, 0, 32767, -32768]
TONE = np.rint(9000 * np.sin(np.arange(8000) / 5)).astype(np.int16)
FINE = RNG.integers(-(2**31), 2**31, 500, np.int32)
SHORT = TONE[:100]
PCM = SHORT.tobytes()
LIST = b"LIST\x05\0\0\0INFO!\0"
RECORDINGS = {
    "WAV": (wav(PCM), SHORT, 0),
    "WAV with an odd chunk before": (wav(PCM, before=LIST), SHORT, 0),
    "WAV with chunks behind": (wav(PCM) + LIST, SHORT, 0),
    "WAV that was streamed": (wav(PCM, size=0xFFFFFFFF), SHORT, 0),
    "WAV of floats that was streamed": (
        wav((SHORT / 32767).astype("<f4").tobytes(), 3, 32, size=0xFFFFFFFF),
        SHORT,
        0,
    ),
    "stereo": (recording(STEREO, "WAV", "PCM_16"), MEANS, 0),
    "stereo FLAC": (recording(STEREO, "FLAC", "PCM_16"), MEANS, 0),
    "7 channels": (recording(np.tile(SHORT[:, None], 7), "WAV", "PCM_16"), SHORT, 0),
    "extensible WAV": (recording(SHORT, "WAVEX", "PCM_16"), SHORT, 0),
    "8-bit WAV": (wav(bytes([0, 128, 255]), bits=8), [-32768, 0, 127 * 256], 0),
    "24-bit WAV": (recording(FINE, "WAV", "PCM_24"), FINE >> 16, 0),
    "32-bit WAV": (recording(FINE, "WAV", "PCM_32"), FINE >> 16, 0),
    "24-bit FLAC": (recording(FINE, "FLAC", "PCM_24"), FINE >> 16, 0),
    "WAV of floats": (floats(0, 0.5, -0.5, 1, -1), [0, 16384, -16384, 32767, -32768], 0),
    "floats beyond full scale": (floats(1.5, -1.5, 7), [32767, -32768, 32767], 0),
    "doubles": (recording(SHORT / 32768, "WAV", "DOUBLE"), SHORT, 1),
    "mu-law": (recording(SHORT, "WAV", "ULAW"), SHORT, 300),
    "Vorbis": (recording(TONE, "OGG", "VORBIS"), TONE, 1500),
    "MP3": (recording(TONE, "MP3", "MPEG_LAYER_III"), TONE, 1500),
    "MP3 with tags": (
        b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + recording(TONE, "MP3", "MPEG_LAYER_III"),
        TONE,
        1500,
    ),
}


@pytest.mark.parametrize(("content", "samples", "tolerance"), RECORDINGS.values(), ids=RECORDINGS)
def test_an_unusual_recording_has_the_samples_that_are_documented(
    content, samples, tolerance
) -> None:
    for data in (content, bytearray(content)):
        decoded, rate = decode_audio(data)
        assert rate == 16_000
        assert len(decoded) == len(samples) == audio_info(data)[0]
        assert np.abs(decoded.numpy() - np.asarray(samples, np.int64)).max() <= tolerance


def test_an_mp3_without_its_length_is_decoded_to_its_end() -> None:
    noise = RNG.normal(size=(64_000, 2)) * 0.1  # so that the bit rate changes from frame to frame
    whole = recording(noise, "MP3", "MPEG_LAYER_III", 44_100)
    decoded, _ = decode_audio(without_xing(whole))
    assert len(decode_audio(whole)[0]) == 64_000
    # The encoder adds at most a frame of silence before, and fills the last one.
    assert 64_000 <= len(decoded) <= 64_000 + 3 * 1152


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_what_a_lossy_decoder_adds_to_full_scale_does_not_turn_its_sign(kind, subtype) -> None:
    square = np.where(np.arange(48_000) // 80 % 2, 1.0, -1.0)
    decoded, _ = decode_audio(recording(square, kind, subtype or "MPEG_LAYER_III", 48_000))
    middle = np.arange(48_000) % 80
    inside = (middle > 20) & (middle < 60)
    inside[:4800] = inside[-4800:] = False
    assert (np.sign(decoded.numpy()) == np.sign(square))[inside].all()
    assert decoded.max() == 32767, "the control: full scale was reached"


TEXTS = {
    "a byte order mark": (b"\xef\xbb\xbfa dog", "a dog"),
    "white space around": ("\u3000 a\tdog\r\n".encode(), "a dog"),
    "right to left": ("כלב".encode(), "כלב"),
    "many code points": ("👩‍🚀 é".encode(), "👩‍🚀 é"),
    "names of tokens": (b"<end><pad> <eos>", "<end><pad> <eos>"),
    "64 KB": (b"a" * 65_536, "a" * 65_536),
    "nothing": (b"", ""),
    "white space alone": (" \n\t\u3000".encode(), ""),
    "a byte order mark alone": (b"\xef\xbb\xbf", ""),
}


@pytest.mark.parametrize(("content", "text"), TEXTS.values(), ids=TEXTS)
def test_an_unusual_text_is_read(content: bytes, text: str) -> None:
    assert decode_text(content) == decode_text(bytearray(content)) == text


JSONS = {
    "no text": (b"{}", {}),
    "null and blank": (b'{"text": null, "caption": " ", "captions": [null, ""]}', {}),
    "several": (b'{"caption": "a", "captions": ["b", " c "]}', {"en": ["a", "b", "c"]}),
    "a language": (b'{"text": "Hund", "language": "de"}', {"de": ["Hund"]}),
    "names": (b'{"names": {"en": "dog", "de": null}, "text": "a"}', {"en": ["dog", "a"]}),
    "names of something else": (b'{"names": ["a"], "title": 5}', {}),
    "captions by language": (
        b'{"captions": {"en": ["a", "b"], "pt-BR": "c", "de": null, "zh_Hant": []}}',
        {"en": ["a", "b"], "pt-BR": ["c"]},
    ),
    "a text by language beside another": (
        b'{"text": {"de": "Hund"}, "caption": "dog"}',
        {"de": ["Hund"], "en": ["dog"]},
    ),
    "numbers": (b'{"text": 7, "captions": [1.5, -2]}', {"en": ["7", "1.5", "-2"]}),
    "no numbers in what is not read": (
        b'{"text": "a", "score": NaN, "more": {"x": [Infinity, -Infinity, 1e999]}}',
        {"en": ["a"]},
    ),
    "a byte order mark": (b'\xef\xbb\xbf{"text": "a"}', {"en": ["a"]}),
}


@pytest.mark.parametrize(("content", "texts"), JSONS.values(), ids=JSONS)
def test_the_texts_of_a_json_are_found_by_language(content: bytes, texts: dict) -> None:
    meta = decode_json(content)
    assert texts_of(meta) == texts
    json.dumps(meta, allow_nan=False)  # what comes out is strict
