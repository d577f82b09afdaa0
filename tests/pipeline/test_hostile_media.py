"""Members that are not as they must be: each is refused by the rule that it breaks."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omni.pipeline.decode import decode_audio, decode_image, decode_json, decode_text
from omni.pipeline.formats import MAX_SCANS
from omni.pipeline.index import build_index
from omni.pipeline.reader import SampleError
from omni.pipeline.sample import decode_sample
from tests.pipeline.hostile import (
    END,
    chunk,
    claim,
    entry,
    exif,
    flip,
    floats,
    ogg,
    picture,
    png,
    recording,
    repeat_scan,
    resized,
    wav,
    webp_header,
)

RNG = np.random.default_rng(0)
DECODERS = {"jpg": decode_image, "wav": decode_audio, "txt": decode_text, "json": decode_json}
NOISE = RNG.integers(0, 256, (16, 24, 3), np.uint8)
JPEG = picture(NOISE, "JPEG", quality=95)
CMYK = resized(picture(Image.new("CMYK", (8, 8)), "JPEG"), 4000, 4000)
PROGRESSIVE = picture(NOISE, "JPEG", progressive=True)
PNG = picture(NOISE, "PNG")
WEBP = picture(NOISE, "WEBP", lossless=True)
HUGE = png(13_000, 13_000, 1, 0, bytes(13_000 * 1626))
"""21 MB of pixels in 20 KB"""
TABLE = "must be JPEG, PNG or WebP"
BOMB = "Decompressed data too large"
PICTURES = {
    "13,000 x 13,000": (HUGE, "13000x13000 pixels, allowed are 1 to 25000000"),
    "giant without data": (png(2**31 - 1, 2**31 - 1, 8, 2, b""), "allowed are 1 to 25000000"),
    "allowed size without data": (png(5000, 5000, 8, 2, b"\0"), "damaged picture: image file"),
    "longer than an index can say": (png(70_000, 1, 8, 0, bytes(70_001)), "65535 a side"),
    "no pixels": (png(0, 9, 8, 2, b""), "0x9 pixels"),
    "chunk before the header": (PNG[:8] + chunk(b"tEXt", PNG[16:29]) + HUGE[8:], TABLE),
    "second header": (PNG[:33] + png(40, 40, 8, 0, b"")[8:33] + PNG[33:], "says 24x16, another"),
    "PNG without an end": (PNG[:-12], "damaged or truncated PNG: chunk at byte"),
    "PNG cut": (PNG[:-60], "damaged or truncated PNG: chunk at byte"),
    "PNG of many chunks": (PNG[:33] + chunk(b"teXt") * 50_000 + PNG[33:], "more than 50000 chunks"),
    "PNG start alone": (PNG[:16], "0x0 pixels"),
    "bit of a PNG": (flip(PNG, len(PNG) // 2), "damaged or truncated PNG: chunk at byte 33"),
    "compressed text in a PNG": (
        PNG[:33] + chunk(b"zTXt", b"a\0\0" + HUGE[41:-16]) + PNG[33:],
        BOMB,
    ),
    "JPEG cut": (JPEG[: len(JPEG) * 2 // 3], "[Pp]remature end"),
    "JPEG with EXIF, cut": (exif(NOISE, "JPEG", 6)[:-99], "[Pp]remature end"),
    "JPEG header alone": (JPEG[:100], "JPEG"),
    "JPEG start alone": (JPEG[:2], "JPEG"),
    "JPEG of garbage": (JPEG[:-90] + RNG.bytes(88) + JPEG[-2:], "[Cc]orrupt"),
    "JPEG with EXIF, of garbage": (
        exif(NOISE, "JPEG", 6)[:-90] + RNG.bytes(88) + JPEG[-2:],
        "[Cc]orrupt",
    ),
    "JPEG that claims more": (resized(JPEG, 24, 160), "[Pp]remature end|[Cc]orrupt"),
    "JPEG of many scans": (repeat_scan(PROGRESSIVE, MAX_SCANS), "more than 64 scans"),
    "CMYK over its limit": (CMYK, "4000x4000 pixels, allowed are 1 to 12500000"),
    "WebP cut": (WEBP[:-60], "damaged picture"),
    "WebP over its limit": (webp_header(16_383, 16_383), "16383x16383 pixels"),
    "WebP of a header": (webp_header(16, 16), "damaged picture"),
    "GIF": (picture(NOISE, "GIF"), f"{TABLE}, this begins with b'GIF"),
    "TIFF": (picture(NOISE, "TIFF"), TABLE),
    "BMP": (picture(NOISE, "BMP"), TABLE),
    "EPS": (picture(NOISE, "EPS"), f"{TABLE}, this begins with b'%!PS"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", TABLE),
    "page that says 404": (b"<!DOCTYPE html><h1>404</h1>", TABLE),
    "recording": (wav(bytes(200)), TABLE),
    "nothing": (b"", TABLE),
}

TONE = np.rint(9000 * np.sin(np.arange(8000) / 5)).astype(np.int16)
FLAC = recording(TONE, "FLAC", "PCM_16")
MP3 = recording(TONE, "MP3", "MPEG_LAYER_III")
VORBIS = recording(np.tile(TONE, 8), "OGG", "VORBIS")
OPUS = recording(TONE, "OGG", "OPUS")
PCM = TONE[:100].tobytes()
LIST = b"LIST\xff\xff\xff\xff"
TABLE = "must be WAV, FLAC, Ogg or MP3"
RECORDINGS = {
    "FLAC of 2^36 samples": (claim(FLAC, 2**36 - 1), "68719476735 samples of 1 channels, allowed"),
    "FLAC of unknown length": (claim(FLAC, 0), "no samples, or does not say how many"),
    "FLAC at 655 kHz": (claim(FLAC, 8000, 655_350, 8), "must be 1 to 192000 Hz, got 655350"),
    "FLAC at 0 Hz": (claim(FLAC, 8000, 0), "must be 1 to 192000 Hz, got 0"),
    "FLAC of 8 channels": (claim(FLAC, 5_000_000, 48_000, 8), "5000000 samples of 8 channels"),
    "FLAC of other channels": (claim(FLAC, 8000, channels=2), "8000 samples claimed, 0 there"),
    "FLAC that claims more": (claim(FLAC, 8001), "8001 samples claimed, 8000 there"),
    "FLAC that claims millions": (claim(FLAC, 31_000_000), "claimed, 8000 there"),
    "FLAC that claims less": (claim(FLAC, 7999), "7999 samples claimed, more there"),
    "FLAC cut": (FLAC[:-300], "damaged or truncated: 8000 samples claimed"),
    "FLAC header alone": (FLAC[:30], "damaged FLAC: its header"),
    "FLAC start alone": (FLAC[:4], "sample rate must be"),
    "bit of a FLAC": (flip(FLAC, len(FLAC) // 2), "damaged or truncated: 8000 samples"),
    "NaN": (floats(0, np.nan, 1), "finite numbers within ±1, the largest is nan"),
    "infinity": (floats(0, -np.inf, 1), "finite numbers within ±1, the largest is inf"),
    "integers as floats": (floats(0, 9000, -20_000), "within ±1, the largest is 20000"),
    "WAV that claims more": (wav(PCM, size=202), "truncated: 202 bytes of samples claimed, 200"),
    "WAV that claims 2 GiB": (wav(PCM, size=2**31), "truncated: 2147483648 bytes of samples"),
    "WAV of floats that claims more": (floats(0, 1)[:-4], "truncated: 8 bytes of samples claimed"),
    "WAV of half a sample": (wav(PCM[:-1]), "199 bytes are no whole samples of 1 channels"),
    "WAV of half a frame": (wav(PCM, channels=3), "200 bytes are no whole samples of 3 channels"),
    "WAV without channels": (wav(PCM, channels=0), "no recording that can be read"),
    "WAV at 0 Hz": (wav(PCM, rate=0), "must be 1 to 192000 Hz, got 0"),
    "WAV at 4 GHz": (wav(PCM, rate=2**32 - 1), "must be 1 to 192000 Hz, got 4294967295"),
    "WAV without samples": (wav(b""), "has no samples"),
    "WAV header alone": (wav(PCM)[:36], "there is no data chunk"),
    "WAV of a chunk without end": (wav(PCM, before=LIST), "there is no data chunk"),
    "WAV of many chunks": (wav(PCM, before=b"LIST\0\0\0\0" * 50_000), "there is no data chunk"),
    "WAV of unknown kind": (wav(PCM, kind=0x55), "no recording that can be read"),
    "Vorbis cut in a page": (VORBIS[:-10], "the Ogg page at byte .* does not fit its checksum"),
    "Vorbis cut at a page": (VORBIS[: VORBIS.rindex(b"OggS")], "without an end"),
    "Opus cut in a page": (OPUS[:-10], "the Ogg page at byte .* does not fit its checksum"),
    "Opus cut at a page": (OPUS[: OPUS.rindex(b"OggS")], "without an end"),
    "Ogg start alone": (OPUS[:4], "stops at byte 0 without an end"),
    "Ogg with more behind": (OPUS + b"x", "Ogg must be one stream"),
    "two streams in one Ogg": (VORBIS + VORBIS, "Ogg must be one stream"),
    "bit of a Vorbis": (flip(VORBIS, len(VORBIS) // 2), "does not fit its checksum"),
    "bit of an Opus": (flip(OPUS, len(OPUS) - 9), "does not fit its checksum"),
    "Ogg of many pages": (ogg(b"", 0) * 50_000, "Ogg has more than 50000 pages"),
    "film": (ogg(b"\x80theora" + bytes(40)), "no recording that can be read"),
    "MP3 cut": (MP3[:-200], "damaged or truncated: 8000 samples claimed"),
    "MP3 of garbage": (b"\xff\xfb\x90\x64" + RNG.bytes(99_999), "no MP3"),
    "MP3 of tags alone": (b"ID3\x04\0\0\0\0\x07\x76" + bytes(1014), "no MP3"),
    "AIFF": (recording(TONE, "AIFF", "PCM_16"), f"{TABLE}, this begins with b'FORM"),
    "RF64": (recording(TONE, "RF64", "PCM_16"), f"{TABLE}, this begins with b'RF64"),
    "AVI": (b"RIFF\0\0\0\0AVI " + bytes(99), "no recording that can be read"),
    "picture": (PNG, TABLE),
    "nothing": (b"", TABLE),
}

TEXTS = {
    "Latin-1": ("café".encode("latin-1"), "text must be UTF-8: unexpected end of data at 3"),
    "UTF-16": ("caption".encode("utf-16"), "text must be UTF-8: invalid start byte at 0"),
    "overlong UTF-8": (b"a\xc0\x80b", "text must be UTF-8: invalid start byte at 1"),
    "surrogates in UTF-8": (b"a\xed\xa0\x80b", "text must be UTF-8"),
    "zero byte": (b"a\0b", "text holds a zero byte"),
    "10 MB": (b"a " * 5_000_000, "text has 10000000 bytes, allowed are 65536"),
}
JSONS = {
    "nothing": (b"", "Expecting value"),
    "list": (b'["a"]', "json must be an object, got list"),
    "cut": (b'{"text": "a', "Unterminated string"),
    "code": (b"__import__('os')", "Expecting value"),
    "deep": (b"[" * 50_000, "nested too deeply"),
    "deeper": (b'{"a":' * 100_000, "json has 500000 bytes, allowed are 65536"),
    "huge": (b'{"a": [' + b"[]," * 5_000_000, "allowed are 65536"),
    "caption of no number": (b'{"caption": NaN}', "'caption' must be a string .* got nan"),
    "caption of infinity": (b'{"text": ["a", 1e999]}', "'text' must be a string .* got inf"),
    "name of no number": (b'{"names": {"en": NaN}}', "'names' must be a string .* got nan"),
    "language of no number": (b'{"language": NaN}', "'language' must be a string, got nan"),
    "answer of no number": (b'{"answer": -Infinity}', "'answer' must be a string .* got -inf"),
    "many digits": (b'{"a": ' + b"9" * 50_000 + b"}", "limit .* for integer string conversion"),
    "fields twice": (b'{"text": "a", "text": "b"}', "must differ, 2 have 1 names"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "json must be UTF-8"),
    "caption of a truth": (b'{"caption": true}', "'caption' must be a string or several, got bool"),
    "captions as of COCO": (b'{"captions": [{"caption": "a"}]}', "'captions' must be .* got dict"),
    "captions as of Karpathy": (b'{"caption": {"raw sentence": "a"}}', "'raw sentence' is no lang"),
    "captions of objects by language": (
        b'{"captions": {"en": [{}]}}',
        "'captions' must be .* dict",
    ),
    "captions of objects": (b'{"captions": ["a", {"b": 1}]}', "'captions' must be .* got dict"),
    "names of lists": (b'{"names": {"en": [["a"]]}}', "'names' must be .* got list"),
    "language of a number": (b'{"language": 1}', "'language' must be a string, got 1"),
    "half a surrogate pair": (b'{"text": "\\ud83d"}', "surrogates not allowed"),
    "zero in a caption": (b'{"text": "a\\u0000b"}', "text holds a zero byte"),
}
FAULTS = [
    pytest.param(extension, content, rule, id=f"{extension}: {name}")
    for extension, table in zip(DECODERS, (PICTURES, RECORDINGS, TEXTS, JSONS), strict=True)
    for name, (content, rule) in table.items()
]


@pytest.mark.parametrize(("extension", "content", "rule"), FAULTS)
def test_a_member_that_is_not_as_it_must_be_is_refused(extension, content, rule) -> None:
    with pytest.raises(ValueError, match=rule):
        DECODERS[extension](content)
    if content:  # an empty file is no damage
        with pytest.raises(SampleError, match=rf"^shard 'x', sample 'k', member .{extension}: "):
            decode_sample("k", {extension: content}, 16_000, "x")
    faults: dict[str, str] = {}
    sample = decode_sample("k", {extension: content, "flac": FLAC}, 16_000, "x", faults)
    assert sample.senses == ("audio",)
    assert [*faults] == ([extension] if content else [])


def test_damaged_media_are_indexed_and_found_when_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    members = (entry(f"{i}.{p.values[0]}", p.values[1]) for i, p in enumerate(FAULTS))
    path.write_bytes(b"".join(members) + END)
    index = build_index(path)
    assert len(index) == len(FAULTS)
    assert index.samples["width"].max() < 65_536
    assert index.samples["frames"].max() <= 32_000_000


def decode_all_within(limit: int) -> None:
    """Every fault, and a picture of the largest size, with that much memory more than is used."""
    largest = png(5000, 5000, 8, 6, bytes(5000 * 20_001))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # Of what is in use, a part is free already.
    resource.setrlimit(resource.RLIMIT_AS, (used + limit * 3 // 4, used + limit * 3 // 4))
    with pytest.raises(MemoryError):  # the control
        bytes(limit)
    for fault in FAULTS:
        extension, content, rule = fault.values
        with pytest.raises(ValueError, match=rule):
            DECODERS[extension](content)
    assert decode_image(largest).shape == (3, 5000, 5000)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory that holds")
def test_nothing_takes_more_than_256_mb() -> None:
    code = "from tests.pipeline import test_hostile_media as t; t.decode_all_within(256_000_000)"
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
