"""Bytes that break one rule each: of tars, pictures and recordings."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import soundfile
from PIL import Image

END = bytes(1024)
"""of an archive"""


def entry(
    name: str | bytes, data: bytes = b"x", kind: bytes = b"0", size: bytes | None = None
) -> bytes:
    """A member: an ustar header whose checksum is right, and its bytes in whole blocks."""
    name = name.encode() if isinstance(name, str) else name
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108] = b"0000644\0"
    header[124:136] = size or b"%011o\0" % len(data)
    header[136:148] = b"%011o\0" % 0
    header[156:157] = kind
    header[257:265] = b"ustar\x0000"
    return seal(header) + data + bytes(-len(data) % 512)


def seal(header: bytearray) -> bytes:
    """With the checksum that fits."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    """A pax header; two underscores in a name stand for a dot."""
    data = b""
    for key, value in records.items():
        line = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(line) + 2
        data += str(length + (length > 99)).encode() + line
    return entry("PaxHeader", data, kind)


def sparse(size: int) -> bytes:
    """A GNU sparse member of so many bytes, of which one block is stored."""
    block = entry("a.jpg", bytes(512), b"S")
    header = bytearray(block[:512])
    header[257:265] = b"ustar  \0"
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % size
    return seal(header) + block[512:]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of raw rows; colour is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows, 1))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND")


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows_of(pixels: np.ndarray) -> bytes:
    """Rows of a PNG without filters, 16-bit values high byte first."""
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2")
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def picture(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    """As PIL writes it."""
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def recording(samples: np.ndarray, kind: str, subtype: str, rate: int = 16_000) -> bytes:
    """As libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=kind)
    return file.getvalue()


def wav(
    data: bytes,
    kind: int = 1,
    bits: int = 16,
    channels: int = 1,
    rate: int = 16_000,
    size: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A WAV whose header claims what it is told; `before` stands before the chunk of samples."""
    step = channels * bits // 8
    fmt = struct.pack("<HHIIHH", kind, channels, rate, min(rate * step, 2**32 - 1), step, bits)
    body = b"fmt " + struct.pack("<I", len(fmt)) + fmt + before
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def claim(flac: bytes, frames: int, rate: int = 16_000, channels: int = 1) -> bytes:
    """The same FLAC with another header."""
    bits = rate << 44 | channels - 1 << 41 | 15 << 36 | frames
    return flac[:18] + bits.to_bytes(8, "big") + flac[26:]


def without_xing(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which tells how many there are."""
    return mp3[mp3.index(mp3[:2], mp3.index(b"Xing")) :]


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def webp_header(width: int, height: int) -> bytes:
    """A WebP that claims a size, and nothing else."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + canvas


def exif(image: np.ndarray, kind: str, orientation: int) -> bytes:
    """A picture that says how it is to be turned."""
    tags = Image.Exif()
    tags[0x112] = orientation
    lossless = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}}
    return picture(image, kind, exif=tags, **lossless[kind])


def floats(*values: float) -> bytes:
    """A WAV of 32-bit floats."""
    return wav(np.array(values, "<f4").tobytes(), kind=3, bits=32)


def ogg(packet: bytes, flags: int = 6) -> bytes:
    """One page of Ogg; flags: 2 the first, 4 the last. Its checksum bit by bit as in RFC 3533."""
    page = bytes((*b"OggS", 0, flags)) + bytes(20) + bytes((1, len(packet))) + packet
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    return page[:22] + crc.to_bytes(4, "little") + page[26:]


def repeat_scan(jpeg: bytes, times: int) -> bytes:
    """A progressive JPEG with its last scan over and over."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * times + jpeg[-2:]


def flip(data: bytes, position: int) -> bytes:
    """One bit turned over."""
    changed = bytearray(data)
    changed[position] ^= 0x10
    return bytes(changed)
