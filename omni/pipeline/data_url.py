"""Bytes that come as text: base64 in any of its spellings, and data URLs (RFC 2397).

What the bytes are is seen from how they begin. So the media type of a URL is not looked at, nor
are its parameters: clients write image/jpg, AUDIO/WAV or application/octet-stream.
"""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

URL = re.compile(r"\s*data:[^,]*?;\s*base64\s*,", re.IGNORECASE)
SAFE = bytes.maketrans(b"-_", b"+/")
"""from the alphabet for addresses to the usual one (RFC 4648, section 5)"""
SPACE = b" \t\r\n\f\v"
"""line breaks of wrapped base64"""


def decode_url(url: str) -> bytes:
    """Return what a data URL holds. Raises `ValueError` for any other address: none is followed."""
    head = URL.match(url)
    if head is None:
        begin = url[:40]
        raise ValueError(f"must be a data URL, data:TYPE;base64,...: got {begin!r}")
    return _decode(url[head.end() :])


def decode_base64(text: str) -> bytes:
    """Return what base64, or a data URL of it, holds. Raises `ValueError`."""
    head = URL.match(text)
    return _decode(text[head.end() :] if head else text)


def _decode(text: str) -> bytes:
    """Wrapped, unpadded, url-safe and percent-encoded base64 are read as well."""
    try:
        data = unquote_to_bytes(text) if "%" in text else text.encode("ascii")
        digits = data.translate(SAFE, delete=SPACE).rstrip(b"=")
        padding = b"=" * (-len(digits) % 4)
        return base64.b64decode(digits + padding, validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"must be base64, got {text[:20]!r}: {error}") from error
