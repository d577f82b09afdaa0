"""Foreign tars are read whole, or there is an error: nothing is lost without a word."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from omni.pipeline import stream
from omni.pipeline.stream import stream_members

FILES = [("a.jpg", b"1"), ("a.txt", b"2" * 600), ("b.jpg", b"3"), ("c.jpg", b"4"), ("c.txt", b"5")]
SAMPLES = [
    {"__key__": "a", "jpg": b"1", "txt": b"2" * 600},
    {"__key__": "b", "jpg": b"3"},
    {"__key__": "c", "jpg": b"4", "txt": b"5"},
]


def tar(files: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE, **options) -> bytes:
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w", **options) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def read(folder: Path, data: bytes) -> list[dict]:
    (folder / "x.tar").write_bytes(data)
    return list(stream_members(folder / "x.tar"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_samples_are_read_from_any_dialect_also_gzipped(pack, dialect, tmp_path):
    assert read(tmp_path, pack(tar(FILES, format=dialect))) == SAMPLES


def test_a_tar_that_is_cut_anywhere_is_refused_before_a_sample_is_given(tmp_path):
    data = tar(FILES)
    end = data.rstrip(b"\0")
    for length in range(0, len(end) + 512, 256):
        (tmp_path / "x.tar").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"x\.tar.*truncated"):
            next(stream_members(tmp_path / "x.tar"))


def test_a_gzip_that_is_cut_anywhere_is_refused(tmp_path):
    data = gzip.compress(tar(FILES))
    for length in range(2, len(data), 7):
        with pytest.raises(ValueError, match=r"x\.tar"):
            read(tmp_path, data[:length])


@pytest.mark.parametrize("member", range(5))
def test_a_damaged_header_is_refused_wherever_it_is(member, tmp_path):
    data = bytearray(tar(FILES))
    starts = [0, 1024, 2560, 3584, 4608]
    data[starts[member] + 3] ^= 1
    with pytest.raises(ValueError, match=f"damaged header at byte {starts[member]}"):
        read(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("a.jpg", b""), ("b.jpg", b""), ("a.txt", b"")], "must be adjacent: 'a'"),
        ([("a.jpg", b""), ("a.JPG", b"")], "two files .jpg"),
        ([("README", b"")], "KEY.EXTENSION"),
    ],
)
def test_what_webdataset_would_lose_or_tear_apart_is_refused(files, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, tar(files))


def test_links_are_refused(tmp_path):
    with pytest.raises(ValueError, match="hard link"):
        read(tmp_path, tar([("a.jpg", b"")], tarfile.LNKTYPE))


def test_files_about_the_tar_and_hidden_ones_are_passed_over(tmp_path):
    odd = [("__meta__/x.json", b"{}"), ("._a.jpg", b"mac"), ("d/.DS_Store", b"")]
    assert read(tmp_path, tar([*odd, *FILES])) == SAMPLES


def test_nothing_is_decoded_nor_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    poison = b"cos\nsystem\n(S'touch poisoned'\ntR."
    files = [("d/a.pyd", poison), ("d/a.pth", poison)]
    expected = [{"__key__": "d/a", "pyd": poison, "pth": poison}]
    assert read(tmp_path, tar(files)) == expected
    with pytest.raises(FileNotFoundError):
        next(stream_members("pipe:touch poisoned"))
    assert not (tmp_path / "poisoned").exists()


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "ALWAYS", 1 << 20)
    bomb = gzip.compress(tar([("a.txt", bytes(8 << 20))]))
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        read(tmp_path, bomb)
