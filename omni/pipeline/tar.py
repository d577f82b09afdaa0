"""A strict walk over the headers of an uncompressed tar: every member found, or a clear error.

Reading on after a damaged header, as tarfile does, loses the rest of a shard without a word. Here
anything unexpected is a `ValueError` that says where. POSIX ustar, pax records that change nothing
but names, sizes and times, and GNU long names are understood.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from omni.pipeline.formats import MAX_MEMBER_BYTES

BLOCK = 512
EXTRAS = "xgL"
"""pax headers and long names: they say something of the member that follows"""
MAX_EXTRA_BYTES = 64 << 10
MAX_TAIL = 1 << 20
"""zeros at the end: some hundred times what tar writes, far less than what a crash leaves"""
MAGICS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
MAGICS |= {b"PK\x03\x04": "zip"}
KINDS = {"1": "a hard link", "2": "a symbolic link", "3": "a device", "4": "a device"}
KINDS |= {"6": "a pipe", "7": "a contiguous file", "S": "a sparse file", "K": "a long link"}
KINDS |= {"5": "a folder that has a size"}
BENIGN = ("path", "size", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment")
BENIGN += ("SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.fflags")
BENIGN_PREFIXES = ("SCHILY.xattr.", "SCHILY.acl.", "LIBARCHIVE.")
RECORD = re.compile(rb"(\d{1,8}) ([^=]+)=")


@dataclass(frozen=True)
class Entry:
    """One regular file of a tar: where its first header and its bytes are."""

    name: str
    start: int
    offset: int
    size: int


def padded(size: int) -> int:
    """Bytes that a member takes: whole blocks."""
    return -(-size // BLOCK) * BLOCK


def walk(file: BinaryIO) -> Iterator[Entry]:
    """Every member in order. Raises `ValueError` at the first thing that is not as it must be."""
    end = os.fstat(file.fileno()).st_size
    offset, start, pax = 0, 0, {}
    while True:
        file.seek(offset)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise ValueError(f"truncated: no end-of-archive mark, the file ends at byte {end}")
        if not any(header):
            if start != offset:
                raise ValueError(f"header at byte {start} belongs to a member that is not there")
            return _check_end(file, offset)
        size, kind = _parse(header, offset, pax)
        if offset + BLOCK + size > end:
            raise ValueError(
                f"truncated: member at byte {offset} has {size} bytes, the file ends at byte {end}"
            )
        if kind in EXTRAS:
            pax |= _extra(file.read(size), kind, offset, pax)
        elif kind == "0":
            yield Entry(pax.get("path") or _name(header, offset), start, offset + BLOCK, size)
        elif kind != "5" or size:  # folders are passed over: the names of their files hold them
            what = KINDS.get(kind, f"of unknown type {kind!r}")
            raise ValueError(f"member {_name(header, offset)!r} at byte {offset} is {what}")
        offset += BLOCK + padded(size)
        if kind not in EXTRAS:  # these belong to the member that follows
            start, pax = offset, {}


def first_name(data: bytes) -> str:
    """The name of the first member of bytes that begin with its headers."""
    offset, pax = 0, {}
    while True:
        header = data[offset : offset + BLOCK]
        if len(header) < BLOCK:
            raise ValueError(f"no whole header within {len(data)} bytes")
        size, kind = _parse(header, offset, pax)
        if kind not in EXTRAS:
            return pax.get("path") or _name(header, offset)
        pax |= _extra(data[offset + BLOCK : offset + BLOCK + size], kind, offset, pax)
        offset += BLOCK + padded(size)


def _parse(header: bytes, offset: int, pax: dict[str, str]) -> tuple[int, str]:
    """Size and type of a header whose checksum is right."""
    actual = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _number(header[148:156]) != actual:
        for magic, program in MAGICS.items():
            if offset == 0 and header.startswith(magic):
                raise ValueError(f"a shard must be an uncompressed tar, this one is {program}")
        raise ValueError(f"damaged header at byte {offset}: checksum does not fit")
    kind = chr(header[156]) if header[156] else "0"
    if (size := _number(header[124:136])) is None:
        raise ValueError(f"damaged header at byte {offset}: size is no number")
    if kind not in EXTRAS:
        size = int(pax.get("size", size))
    limit = MAX_EXTRA_BYTES if kind in EXTRAS else MAX_MEMBER_BYTES
    if not 0 <= size <= limit:
        raise ValueError(f"member at byte {offset}: size must be 0 to {limit}, got {size}")
    return size, kind


def _number(field: bytes) -> int | None:
    """Octal; or in base 256, as a signed number behind one bit that says so (8 GiB and more)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        return value if field[0] & 0x40 else value + (1 << 8 * len(field) - 1)
    digits = re.fullmatch(rb" *([0-7]+)[ \0]*", field)
    return int(digits[1], 8) if digits else None


def _name(header: bytes, offset: int) -> str:
    name, prefix = header[:100].rstrip(b"\0"), b""
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].rstrip(b"\0")
    try:
        return (prefix + b"/" * bool(prefix) + name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"member at byte {offset}: its name is not UTF-8") from error


def _extra(data: bytes, kind: str, offset: int, before: dict[str, str]) -> dict[str, str]:
    """What a pax header or a GNU long name says of the next member."""
    try:
        records = {"path": data.removesuffix(b"\0").decode()} if kind == "L" else _records(data)
    except ValueError as error:
        raise ValueError(f"damaged pax header at byte {offset}: {error}") from error
    for key in records:
        if key not in BENIGN and not key.startswith(BENIGN_PREFIXES):
            raise ValueError(f"pax header at byte {offset} sets {key!r}, which is not allowed")
    kept = {key: records[key] for key in ("path", "size") if key in records}
    if kept and kind == "g":
        raise ValueError(f"global pax header at byte {offset} sets {', '.join(kept)}")
    if twice := kept.keys() & before.keys():
        raise ValueError(f"header at byte {offset} sets {', '.join(twice)} a second time")
    return kept


def _records(data: bytes) -> dict[str, str]:
    """Lines of "length key=value", the length counting the whole line."""
    records, at = {}, 0
    while at < len(data):
        head = RECORD.match(data, at)
        stop = at + int(head[1]) if head else 0
        if head is None or not head.end() < stop <= len(data) or data[stop - 1] != ord("\n"):
            raise ValueError(f"record at its byte {at} has a wrong length")
        records[head[2].decode()] = data[head.end() : stop - 1].decode()
        at = stop
    if not re.fullmatch("[0-9]{1,12}", records.get("size", "0")):
        raise ValueError(f"size must be a number, got {records['size']!r}")
    return records


def _check_end(file: BinaryIO, offset: int) -> None:
    """Two blocks of zeros, and nothing but a few zeros after them."""
    file.seek(offset)
    tail = file.read(MAX_TAIL + 1)
    if tail != bytes(len(tail)):
        raise ValueError(f"data after the end-of-archive mark at byte {offset}")
    if len(tail) < 2 * BLOCK:
        raise ValueError(f"truncated: the end-of-archive mark at byte {offset} is cut")
    if len(tail) > MAX_TAIL:
        raise ValueError(f"more than {MAX_TAIL} zeros from byte {offset} on: never written")
