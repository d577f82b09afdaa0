"""Pictures to uint8 RGB pixels: bytes of any format in the table, and objects of PIL.

JPEG is decoded by libjpeg-turbo, the rest by PIL. The size is known and checked before anything is
allocated. Everything that PIL has decoded, here or elsewhere, becomes RGB by `to_pixels`.
"""

import io
import zlib

import numpy as np
import simplejpeg
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from omni.pipeline.formats import FORMATS, MAX_PARTS, MAX_PIXELS, MAX_SCANS, MAX_SIDE

FLIPS = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}
"""dims to flip for an EXIF orientation, after rows and columns are exchanged from 5 on"""
CONVERTED = tuple({form.reader: 0 for form in FORMATS.values() if form.library == "PIL"})
"""formats of PIL that a shard may not hold"""
FULL_SCALES = (1, 255, 65_535)
"""levels of white in a picture of 32-bit numbers: the smallest that none of them exceeds"""
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
STRIP = 1 << 18
"""pixels that PIL converts at a time: all at once take twice the memory"""


def image_size(data: bytes | bytearray) -> tuple[int, int]:
    """Width and height from the header, before the picture is turned.

    Raises `ValueError` for what is no JPEG, PNG or WebP, and for sizes over a limit.
    """
    limit = MAX_PIXELS
    if data[:2] == b"\xff\xd8":
        header = simplejpeg.decode_jpeg_header(data)
        width, height, colours = int(header[1]), int(header[0]), header[2]
        if colours in ("CMYK", "YCCK"):
            limit //= 2
    elif data[:16] == b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR":
        width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        width, height = _webp_size(data)
        limit //= 2
    else:
        begin = bytes(data[:8])
        raise ValueError(f"a picture must be JPEG, PNG or WebP, this begins with {begin!r}")
    _check_size(width, height, limit)
    return width, height


def _check_size(width: int, height: int, limit: int) -> None:
    if not 0 < width * height <= limit or max(width, height) > MAX_SIDE:
        raise ValueError(
            f"picture has {width}x{height} pixels, allowed are 1 to {limit} in all "
            f"and {MAX_SIDE} a side"
        )


def _webp_size(data: bytes | bytearray) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        sizes = data[24:27], data[27:30]
        width, height = (int.from_bytes(size, "little") + 1 for size in sizes)
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        sizes = data[26:28], data[28:30]
        width, height = (int.from_bytes(size, "little") & 0x3FFF for size in sizes)
    return width, height


def decode_image(data: bytes | bytearray, out: np.ndarray | None = None) -> UInt8[Tensor, "3 H W"]:
    """RGB. A JPEG that fits `out` [H W 3] and need not be turned is decoded into it."""
    width, height = image_size(data)
    if data[:2] == b"\xff\xd8":
        if not _is_one_scan(data) and data.count(b"\xff\xda") > MAX_SCANS:
            raise ValueError(f"JPEG has more than {MAX_SCANS} scans")
        found = data.find(b"Exif\0\0", 0, data.find(b"\xff\xda"))
        turn = _orientation(bytes(data[found : found + MAX_SIDE])) if found >= 0 else 1
        fits = turn == 1 and out is not None and out.shape == (height, width, 3)
        pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=out if fits else None)
    else:
        return _decode_with_pil(data, width, height)
    return _turn(torch.from_numpy(pixels).permute(2, 0, 1), turn)


def read_image(data: bytes | bytearray) -> UInt8[Tensor, "3 H W"]:
    """Decode a picture of any format in the table, which a shard may not hold as well.

    Raises `ValueError` for what is none, is damaged, or is over a limit.
    """
    begin = bytes(data[:16])
    if begin[:2] == b"\xff\xd8" or begin[:4] == b"\x89PNG" or begin[8:12] == b"WEBP":
        return decode_image(data)
    try:
        with Image.open(io.BytesIO(data), formats=CONVERTED) as image:
            _check_size(*image.size, MAX_PIXELS // 2)
            return to_pixels(image)
    except UnidentifiedImageError as error:
        known = ", ".join(("JPEG", "PNG", "WEBP", *CONVERTED))
        raise ValueError(f"a picture must be {known}, this begins with {begin[:8]!r}") from error
    except (OSError, SyntaxError, EOFError, *BOMBS) as error:
        raise ValueError(f"damaged picture: {error}") from error


def to_pixels(image: Image.Image) -> UInt8[Tensor, "3 H W"]:
    """Return the RGB pixels of a picture of PIL in any of its modes, turned upright.

    Transparency is laid on white and levels of 16 bits are scaled to 8. Levels of 32 bits (modes I
    and F) have white at the smallest of 1 (floats only), 255 and 65,535 that none of them exceeds.
    Raises `ValueError` for levels that are negative, no numbers, or over 65,535, and for no pixels.
    """
    if 0 in image.size:
        raise ValueError(f"a picture must have pixels, got {image.width} x {image.height}")
    image.load()  # first: only then a TIFF is turned, by PIL itself
    turn = _orientation(image.info.get("exif") or b"")
    width, height = image.size
    white = _white(image)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // max(1, width))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = _to_rgb(strip, white)
    return _turn(torch.from_numpy(pixels).permute(2, 0, 1), turn)


def _turn(picture: UInt8[Tensor, "3 H W"], turn: int) -> UInt8[Tensor, "3 H W"]:
    """Turn a picture upright as an EXIF orientation says."""
    if turn > 4:
        picture = picture.transpose(1, 2)
    return picture.flip(FLIPS[turn]) if turn in FLIPS else picture


def _is_one_scan(data: bytes | bytearray) -> bool:
    """Whether the first scan of a JPEG has all its components: what comes after it is not read."""
    position, components = 2, b""
    for _ in range(MAX_PARTS):
        marker = data[position : position + 2]
        if marker in (b"\xff\xc0", b"\xff\xc1"):
            components = data[position + 9 : position + 10]
        elif marker == b"\xff\xda":
            return data[position + 4 : position + 5] == components
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _orientation(exif: bytes) -> int:
    """1 to 8 as the tag 0x112 says; 1 where there is none that can be read."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = "big" if tiff[:4] == b"MM\0*" else "little"
    if tiff[:4] not in (b"MM\0*", b"II*\0"):
        return 1
    start = int.from_bytes(tiff[4:8], order) + 2
    count = int.from_bytes(tiff[start - 2 : start], order)
    for at in range(start, min(start + 12 * count, len(tiff)), 12):
        if int.from_bytes(tiff[at : at + 2], order) == 0x112:
            value = int.from_bytes(tiff[at + 8 : at + 10], order)
            return value if value in range(1, 9) else 1
    return 1


def _decode_with_pil(data: bytes | bytearray, width: int, height: int) -> UInt8[Tensor, "3 H W"]:
    """Decode a PNG or WebP."""
    if data[:4] == b"\x89PNG":
        _check_chunks(data)
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "WEBP"))
        if image.size != (width, height):
            raise ValueError(f"its first header says {width}x{height}, another {image.size}")
        return to_pixels(image)
    except (OSError, SyntaxError, *BOMBS) as error:
        raise ValueError(f"damaged picture: {error}") from error


def _check_chunks(data: bytes | bytearray) -> None:
    """Every chunk of a PNG fits its checksum: PIL looks at few of them."""
    start = 8
    for _ in range(MAX_PARTS):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if end > len(data) or zlib.crc32(data[start + 4 : end - 4]) != checksum:
            raise ValueError(f"damaged or truncated PNG: chunk at byte {start} of {len(data)}")
        if data[start + 4 : start + 8] == b"IEND":
            return
        start = end
    raise ValueError(f"PNG has more than {MAX_PARTS} chunks")


def _white(image: Image.Image) -> int:
    """Return the level of white of a picture whose levels have more than 8 bits, else 255."""
    if image.mode.startswith("I;16"):
        return 65_535
    if image.mode not in ("I", "F"):
        return 255
    levels = np.asarray(image)
    low, high = float(levels.min()), float(levels.max())
    scales = FULL_SCALES if image.mode == "F" else FULL_SCALES[1:]
    if not low >= 0 or not high <= scales[-1]:  # nor is any number that is none
        raise ValueError(
            f"levels of a picture of mode {image.mode} must be 0 ... {scales[-1]}, "
            f"got {low:g} ... {high:g}"
        )
    return next(scale for scale in scales if high <= scale)


def _to_rgb(image: Image.Image, white: int) -> np.ndarray:
    transparent = image.info.get("transparency")
    if image.mode == "F" or image.mode.startswith("I"):  # PIL would clip them
        levels = np.asarray(image)
        grey = (levels.astype(np.float32) * (255 / white)).round().astype(np.uint8)
        grey[levels == (-1 if transparent is None else transparent)] = 255
        return grey[:, :, None]
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode in ("RGBA", "LA", "PA") or transparent is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
