"""What media become when they are packed."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
import soundfile
from PIL import Image

from data.prepare.media import SLOTS, Form
from data.prepare.shard import convert
from data.prepare.sources import open_source
from data.record import Record, Rejection
from omni.pipeline.decode import decode_audio
from omni.pipeline.formats import EXTENSIONS, MAX_PIXELS, endings
from tests.data.corpora import RATES, picture, tone


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_sound_becomes_16_khz_mono_of_the_same_length_and_pitch(rate, kind):
    record = Record("a", audio=tone(rate, 0.5, channels=2))
    data = convert("a", record, Form(audio=kind))[kind]
    samples, got = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    assert (got, samples.shape[1]) == (16_000, 1)
    assert abs(len(samples) / 16_000 - 0.5) < 1e-3
    spectrum = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples)), 16_000))
    assert abs(int(spectrum.argmax()) - 440) <= 2
    assert np.abs(samples).max() == pytest.approx(0.5 * 32767, rel=0.03)
    if kind == "wav":
        assert (data[36:40], len(data)) == (b"data", 44 + 2 * len(samples))


@pytest.mark.parametrize("given", ["path", "bytes"])
def test_a_recording_is_cut_to_the_second(given, tmp_path):
    halves = np.concatenate([np.zeros(8_000), 0.5 * np.ones(8_000)])
    soundfile.write(tmp_path / "a.wav", halves, 16_000)
    audio = tmp_path / "a.wav" if given == "path" else (tmp_path / "a.wav").read_bytes()
    data = convert("a", Record("a", audio=audio, start=0.25, stop=0.75), Form())["flac"]
    samples, _ = soundfile.read(io.BytesIO(data))
    assert len(samples) == 8_000
    np.testing.assert_allclose(samples, np.repeat([0, 0.5], 4_000), atol=1e-4)
    outside = convert("a", Record("a", audio=audio, start=1.0, stop=2.0), Form())
    assert isinstance(outside, Rejection)
    assert outside.member == "audio"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((300, 400), (64, 85)),
        ((400, 300), (85, 64)),
        ((64, 64), (64, 64)),
        ((50, 900), (50, 900)),
        ((9, 5), (9, 5)),
    ],
)
def test_pictures_are_shrunk_and_never_enlarged(given, expected):
    data = convert("a", Record("a", image=picture(*given)), Form(size=64))["jpg"]
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    assert (width, height) == expected


def test_a_small_jpeg_is_kept_and_one_that_lies_is_turned():
    small = picture(40, 30, "JPEG")
    assert convert("a", Record("a", image=small), Form())["jpg"] == small
    exif = Image.Exif()
    exif[0x0112] = 6  # stands on its side
    turned = convert("a", Record("a", image=picture(40, 30, "JPEG", exif=exif)), Form())["jpg"]
    assert simplejpeg.decode_jpeg_header(turned)[:2] == (40, 30)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF"])
def test_transparency_is_white(kind):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(file := io.BytesIO(), kind)
    data = convert("a", Record("a", image=file.getvalue()), Form())["jpg"]
    assert (simplejpeg.decode_jpeg(data) > 250).all()


def test_originals_are_kept_where_a_shard_has_a_place_for_them():
    png, wav = picture(600, 400), tone(44_100, channels=2)
    kept = convert("a", Record("a", image=png, audio=wav), Form(keep_originals=True))
    assert kept == {"png": png, "wav": wav}
    tiff = convert("a", Record("a", image=picture(600, 400, "TIFF")), Form(keep_originals=True))
    with Image.open(io.BytesIO(tiff["png"])) as image:
        assert image.size == (600, 400)


@pytest.mark.parametrize(
    ("part", "member"),
    [
        ({"image": b"no picture"}, "image"),
        ({"image": picture(30, 20)[:60]}, "image"),
        ({"image": picture(30, 20, "BMP")[:60]}, "image"),
        ({"audio": tone(8_000)[:200]}, "audio"),
        ({"audio": b"no sound"}, "audio"),
        ({"audio": tone(44_101)}, "audio"),
        ({"texts": ("a\0b",)}, "text"),
        ({"texts": ("x" * 70_000,)}, "text"),
        ({"texts": (b"\xff".decode("utf-8", "surrogateescape"),)}, "text"),
        ({"texts": ("a",), "meta": {"n": "x" * 70_000}}, "json"),
        ({"texts": (" ",)}, "json"),
        ({}, "json"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_packed(part, member):
    whole = {"image": picture(30, 20), "audio": tone(8_000), "texts": ("a",)}
    names = {"image": "jpg", "audio": "flac", "text": "txt"}
    assert set(convert("a", Record("a", **whole), Form())) == {*names.values()}
    faults: dict[str, str] = {}
    alone = convert("a", Record("a", **part), Form(), faults)
    assert isinstance(alone, Rejection)
    assert (alone.member, bool(alone.reason)) == (member, True)
    assert [*faults] == ([] if part in ({}, {"texts": (" ",)}) else [member])
    if member in names:
        rest = convert("a", Record("a", **whole | part), Form(), {})
        assert {*rest} == {*names.values()} - {names[member]}


@pytest.mark.parametrize("part", [{"image": b""}, {"audio": b""}, {"texts": (" \n",)}])
def test_an_empty_file_is_one_that_is_not_there(part, tmp_path):
    whole = {"image": picture(30, 20), "audio": tone(8_000), "texts": ("a",)}
    faults: dict[str, str] = {}
    assert len(convert("a", Record("a", **whole | part), Form(), faults)) == 2
    assert faults == {}
    (tmp_path / "empty").write_bytes(b"")
    files = {"image": tmp_path / "empty", "audio": tmp_path / "empty", "start": 1.0}
    assert {*convert("a", Record("a", texts=("a",), **files), Form(), faults)} == {"txt"}
    assert faults == {}


def test_a_number_that_is_not_finite_is_null_in_the_json():
    record = Record("a", texts=("a",), meta={"n": [float("nan"), {"m": float("inf")}, 1.5]})
    assert json.loads(convert("a", record, Form())["json"])["n"] == [None, {"m": None}, 1.5]


def test_a_picture_is_refused_by_its_header_before_it_is_decoded():
    huge = bytearray(picture(30, 20, "BMP"))
    huge[18:26] = (6_000).to_bytes(4, "little") * 2
    found = convert("a", Record("a", image=bytes(huge)), Form())
    assert isinstance(found, Rejection)
    assert str(MAX_PIXELS // 2) in found.reason


def test_the_json_says_what_the_other_members_do_not():
    def meta(**fields) -> dict | None:
        found = convert("a", Record(**{"key": "a", "texts": ("one",)} | fields), Form())
        return json.loads(found["json"]) if "json" in found else None

    plain = {"v": 1, "id": "a", "language": "en", "captions": ["one"]}
    assert meta() is None
    assert meta(key="A/b") == plain | {"id": "A/b"}
    assert meta(language="de") == plain | {"language": "de"}
    assert meta(texts=("one", "two")) == plain | {"captions": ["one", "two"]}
    assert meta(meta={"n": 1, "v": 7, "captions": 3}) == plain | {"n": 1}


IMAGES = {"jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF"}
IMAGES |= {"pbm": "PPM", "pgm": "PPM"}
"""what PIL calls the formats of endings that are not their names"""
SOUNDS = {"opus": ("OGG", "OPUS"), "oga": ("OGG", "VORBIS"), "aif": ("AIFF", None)}
SOUNDS |= {"aifc": ("AIFF", None)}
"""the same of libsndfile"""
MUXERS = {"m4a": ("ipod", "aac"), "aac": ("adts", "aac"), "wma": ("asf", "wmav2")}
MUXERS |= {"weba": ("webm", "libopus"), "mka": ("matroska", "aac"), "amr": ("amr", "")}
"""the same of FFmpeg, with a codec; of AMR it has no encoder"""


def sound_file(ending: str) -> bytes:
    """Half a second of a tone in the format of an ending."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    file = io.BytesIO()
    if ending not in MUXERS:
        kind, subtype = SOUNDS.get(ending, (ending.upper(), None))
        soundfile.write(file, wave, 48_000, subtype, format=kind)
        return file.getvalue()
    av = pytest.importorskip("av")
    muxer, codec = MUXERS[ending]
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        stream.bit_rate = 64_000
        samples = (wave * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 48_000
        for part in (frame, None):
            for packet in stream.encode(part):
                container.mux(packet)
    return file.getvalue()


def test_pack_looks_for_the_endings_of_the_one_table_and_no_others():
    media = {ending for ending, slot in SLOTS.items() if slot in ("image", "audio")}
    assert media == {*endings("image", "audio")}


@pytest.mark.parametrize("ending", endings("image"))
def test_a_picture_of_any_format_that_is_read_is_packed(ending, tmp_path):
    kind = IMAGES.get(ending, ending.upper())
    (tmp_path / f"a.{ending}").write_bytes(picture(40, 30, kind))
    (record,) = open_source(str(tmp_path), None, None)
    packed = convert("a", record, Form())
    assert simplejpeg.decode_jpeg_header(packed["jpg"])[:2] == (30, 40)
    kept = convert("a", record, Form(keep_originals=True))
    assert {*kept} <= {*EXTENSIONS}


@pytest.mark.parametrize("ending", [e for e in endings("audio") if e != "amr"])
def test_a_recording_of_any_format_that_is_read_is_packed(ending, tmp_path):
    (tmp_path / f"a.{ending}").write_bytes(sound_file(ending))
    (record,) = open_source(str(tmp_path), None, None)
    packed = convert("a", record, Form())
    samples, rate = soundfile.read(io.BytesIO(packed["flac"]))
    assert rate == 16_000
    assert 0.45 < len(samples) / rate < 0.6  # some codecs lose or add a frame
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16_000))
    assert abs(int(spectrum.argmax()) - 440) <= 2
    kept = convert("a", record, Form(keep_originals=True))
    assert {*kept} <= {*EXTENSIONS}
    decode_audio(next(iter(kept.values())))  # as training does
    part = convert("a", replace(record, start=0.1, stop=0.3), Form())["flac"]
    assert abs(len(soundfile.read(io.BytesIO(part))[0]) / 16_000 - 0.2) < 1e-3
