"""Shards that are not as they must be: each is refused by the rule that it breaks."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from webdataset.writer import TarWriter

from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import MAX_MEMBER_BYTES
from omni.pipeline.index import HEADER, MEMBER, Index, build_index
from omni.pipeline.reader import Reader, SampleError
from omni.pipeline.stream import stream_members
from omni.pipeline.tar import MAX_TAIL, first_name
from tests.pipeline.hostile import END, entry, flip, pax, sparse

A = entry("a.jpg", b"picture " * 100) + entry("a.txt", b"a text")
B = entry("b.jpg", b"another " * 100) + entry("b.txt", b"and its text")
GOOD = A + B + END
TAIL = A + END
LONG = "folder/" + "x" * 150


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", os.urandom(600))
    return file.getvalue()


NOISE = np.random.default_rng(0).bytes(2000)
CUT = "truncated"
FAULTS = {
    "empty file": (b"", CUT),
    "cut at a header": (GOOD[: len(A)], "no end-of-archive mark"),
    "cut inside a member": (GOOD[: len(A) + 700], "has 800 bytes, the file ends"),
    "cut inside a header": (GOOD[: len(A) + 100], "no end-of-archive mark"),
    "cut mark": (GOOD[:-512], "mark at byte .* is cut"),
    "no mark": (GOOD[:-1024], "no end-of-archive mark"),
    "bit of a header": (flip(GOOD, len(A) + 3), f"damaged header at byte {len(A)}: checksum"),
    "bit of the first header": (flip(GOOD, 3), "damaged header at byte 0: checksum"),
    "zeroed header": (GOOD[: len(A)] + bytes(1024) + GOOD[len(A) + 1024 :], "data after"),
    "data after the mark": (GOOD + b"x", "data after the end-of-archive mark"),
    "second tar behind": (GOOD + GOOD, "data after the end-of-archive mark"),
    "zeros as of a crash": (GOOD + bytes(MAX_TAIL), "zeros from byte .* never written"),
    "text": (b"a text and no tar. " * 99, "damaged header at byte 0"),
    "gzip": (gzip.compress(NOISE + GOOD), "uncompressed tar, this one is gzip"),
    "bzip2": (bz2.compress(NOISE + GOOD), "uncompressed tar, this one is bzip2"),
    "xz": (lzma.compress(NOISE + GOOD), "uncompressed tar, this one is xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + NOISE, "uncompressed tar, this one is zstd"),
    "zip": (zipped(), "uncompressed tar, this one is zip"),
    "size of letters": (entry("a.jpg", size=b"0000000zz00\0") + TAIL, "size is no number"),
    "size of nothing": (entry("a.jpg", size=bytes(12)) + TAIL, "size is no number"),
    "size as Python writes it": (entry("a.jpg", size=b"0o000000001\0") + TAIL, "no number"),
    "negative size": (entry("a.jpg", size=b"\xff" * 12) + TAIL, "size must be 0 .* got -1$"),
    "negative octal size": (entry("a.jpg", size=b"-0000000512\0") + TAIL, "size is no number"),
    "size over the file": (entry("a.jpg", size=b"00000777777\0") + END, "has 262143 bytes"),
    "9 GiB": (entry("a.jpg", size=b"\x80\0\0\0\0\0\0\x02\x40\0\0\0") + END, "got 9663676416"),
    "64 MiB and a byte": (
        entry("a.jpg", size=b"%011o\0" % (MAX_MEMBER_BYTES + 1)) + END,
        "size must be 0 to 67108864, got 67108865",
    ),
    "sparse": (sparse(3 << 30) + TAIL, "'a.jpg' at byte 0 is a sparse file"),
    "sparse in pax 1.0": (
        pax(GNU__sparse__major="1", GNU__sparse__realsize=str(3 << 30)) + TAIL,
        "sets 'GNU.sparse.major'",
    ),
    "sparse in pax 0.1": (pax(GNU__sparse__map="0,512") + TAIL, "sets 'GNU.sparse.map'"),
    "hard link": (A + entry("b.jpg", b"", b"1") + END, f"'b.jpg' at byte {len(A)} is a hard link"),
    "symbolic link": (entry("a.jpg", b"", b"2") + END, "is a symbolic link"),
    "character device": (entry("a.jpg", b"", b"3") + END, "is a device"),
    "block device": (entry("a.jpg", b"", b"4") + END, "is a device"),
    "pipe": (entry("a.jpg", b"", b"6") + END, "is a pipe"),
    "contiguous": (entry("a.jpg", b"", b"7") + END, "is a contiguous file"),
    "long link": (entry("a.jpg", b"b.jpg", b"K") + TAIL, "is a long link"),
    "unknown kind": (entry("a.jpg", b"", b"Z") + END, "of unknown type 'Z'"),
    "folder of some size": (entry("b/", A, b"5") + TAIL, "is a folder that has a size"),
    "damaged pax length": (entry("P", b"99 path=a.jpg\n", b"x") + TAIL, "damaged pax header"),
    "pax length of zero": (entry("P", b"0 path=a.jpg\n", b"x") + TAIL, "damaged pax header"),
    "pax length too short": (entry("P", b"9 path=a.jpg\n", b"x") + TAIL, "damaged pax header"),
    "pax without lengths": (entry("P", b"path=a.jpg\n", b"x") + TAIL, "damaged pax header"),
    "pax size of letters": (pax(size="1e3") + TAIL, "size must be a number, got '1e3'"),
    "negative pax size": (pax(size="-512") + TAIL, "size must be a number, got '-512'"),
    "pax size over a limit": (pax(size=str(3 << 30)) + TAIL, "got 3221225472"),
    "pax of a megabyte": (entry("P", b"5 a=\n" * 200_000, b"x") + TAIL, "must be 0 to 65536"),
    "unknown pax field": (pax(charset="BINARY") + TAIL, "sets 'charset', which is not allowed"),
    "global path": (pax(b"g", path="c.jpg") + TAIL, "global pax header at byte 0 sets path"),
    "global size": (pax(b"g", size="1") + TAIL, "global pax header at byte 0 sets size"),
    "two long names": (
        entry("L", b"b.jpg\0", b"L") + pax(path="c.jpg") + TAIL,
        "sets path a second time",
    ),
    "long name of nothing": (A + entry("L", b"b.jpg\0", b"L") + END, "a member that is not there"),
    "the same member twice": (A + entry("a.txt") + END, "two files for its text: 'a.txt'"),
    "key that comes again": (A + B + entry("a.json") + END, "adjacent: 'a' comes again"),
    "two pictures": (A + entry("a.png") + END, "two files for its image: 'a.png'"),
    "two recordings": (entry("a.wav") + entry("a.flac") + END, "two files for its audio"),
    "two cases of one name": (A + entry("a.JPG") + END, "two files for its image: 'a.JPG'"),
    "absolute name": (entry("/etc/a.jpg") + END, "relative and without .., got '/etc/a.jpg'"),
    "absolute name behind a dot": (entry(".//etc/a.jpg") + END, "relative and without"),
    "name of a parent": (entry("../a.jpg") + END, "relative and without .., got '../a.jpg'"),
    "parent in a pax path": (pax(path="b/../../a.jpg") + TAIL, "relative and without"),
    "zero byte in a name": (entry(b"a\0b.jpg") + END, "control characters"),
    "zero byte in a pax path": (pax(path="a.jpg\0.txt") + TAIL, "control characters"),
    "zero byte in a long name": (entry("L", b"a.jpg\0b", b"L") + TAIL, "control characters"),
    "line feed in a name": (entry("a\nb.jpg") + END, "control characters"),
    "backslash in a name": (entry("a\\b.jpg") + END, "control characters"),
    "name not in UTF-8": (entry(b"caf\xe9.jpg") + END, "its name is not UTF-8"),
    "pax path not in UTF-8": (entry("P", b"14 path=\xe9.jpg\n", b"x") + TAIL, "damaged pax"),
    "no name": (entry("") + END, "must be named KEY.EXTENSION"),
    "no extension": (entry("README") + END, "must be named KEY.EXTENSION, got 'README'"),
    "folder as a file": (entry("folder/") + END, "must be named KEY.EXTENSION"),
    "code": (A + entry("b.pyd") + END, "extension of 'b.pyd'.* got 'pyd'"),
    "pickle": (A + entry("a.pickle") + END, "got 'pickle'"),
    "array": (A + entry("a.npy") + END, "got 'npy'"),
    "tensor": (A + entry("a.pth") + END, "got 'pth'"),
    "key with a dot": (entry("v1.0001.jpg") + END, "from the first dot on, .* got '0001.jpg'"),
}


def write(folder: Path, content: bytes) -> Path:
    path = folder / "shard.tar"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("content", "rule"), FAULTS.values(), ids=FAULTS)
def test_a_shard_that_is_not_as_it_must_be_is_refused(content, rule, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=rule):
        build_index(path)


def test_a_hole_of_3_gib_on_the_disk_is_not_read(tmp_path: Path) -> None:
    claiming = entry("a.jpg", size=b"%011o\0" % (3 << 30))
    for content, rule in ((b"", "never written"), (claiming, "size must be 0 to")):
        path = write(tmp_path, content)
        os.truncate(path, 3 << 30)
        with pytest.raises(ValueError, match=rule):
            build_index(path)


def by_webdataset() -> bytes:
    file = io.BytesIO()
    writer = TarWriter(file, mtime=1.5, encoder=False)  # so each member gets a pax header
    writer.write({"__key__": "a", "jpg": b"picture", "txt": b"text"})
    writer.close()
    return file.getvalue()


def by_tarfile(form: int, name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for extension, data in (("jpg", b"picture"), ("txt", b"text")):
            info = tarfile.TarInfo(f"{name}.{extension}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


LITTER = (
    "._a.jpg", ".DS_Store", "folder/.DS_Store", "__MACOSX/._a.jpg", "__MACOSX/a.jpg", ".jpg",
    "__meta__/info.txt", "./__meta__/info.json", "__meta__", "__shardindex__", "x/__meta__/a.jpg",
    ".git/config", ".ipynb_checkpoints/a.txt", "Thumbs.db", "folder/desktop.ini", "@eaDir/a.jpg",
)  # fmt: skip
"""members of tars that belong to no sample"""
PLAIN = entry("a.jpg", b"picture") + entry("a.txt", b"text") + END
TAKEN = {
    "plain": (PLAIN, "a"),
    "more zeros at the end": (PLAIN + bytes(10_240), "a"),
    "by webdataset, with pax headers": (by_webdataset(), "a"),
    "long names of GNU": (by_tarfile(tarfile.GNU_FORMAT, LONG), LONG),
    "long names of pax": (by_tarfile(tarfile.PAX_FORMAT, LONG), LONG),
    "long names of ustar": (by_tarfile(tarfile.USTAR_FORMAT, "x" * 90 + "/k"), "x" * 90 + "/k"),
    "Chinese names": (by_tarfile(tarfile.PAX_FORMAT, "猫" * 60), "猫" * 60),
    "pax size": (pax(size="7", mtime="1.5") + PLAIN, "a"),
    "global comment": (pax(b"g", comment="made by git") + PLAIN, "a"),
    "names behind ./": (
        entry("./", b"", b"5") + entry("./a.jpg", b"picture") + entry("./a.txt", b"text") + END,
        "a",
    ),
    "upper case": (entry("A.JPG", b"picture") + entry("A.Txt", b"text") + END, "A"),
    "litter all over": (
        b"".join(entry(name, b"no picture") for name in LITTER[:8])
        + entry("a.jpg", b"picture")
        + b"".join(entry(name, b"no picture") for name in LITTER[8:])
        + entry("a.txt", b"text")
        + END,
        "a",
    ),
    "key like bzip2": (entry("BZh9.jpg", b"picture") + entry("BZh9.txt", b"text") + END, "BZh9"),
}


@pytest.mark.parametrize(("content", "key"), TAKEN.values(), ids=TAKEN)
def test_a_strangers_tar_is_read_whole(content, key, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    reader = Reader(Dataset(str(path)))
    assert len(reader.dataset) == 1
    assert reader.members(0) == (key, {"jpg": b"picture", "txt": b"text"})
    reader.close()
    # What pack reads of it is the same.
    assert [*stream_members(path)] == [{"__key__": key, "jpg": b"picture", "txt": b"text"}]


EMPTY = {
    "zeros alone": bytes(10_240),
    "only folders": entry("folder/", b"", b"5") + END,
    "only litter": b"".join(entry(name) for name in LITTER) + END,
}


@pytest.mark.parametrize("content", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("indexed", [False, True])
def test_a_tar_without_samples_is_passed_over_among_others(
    content, indexed, tmp_path: Path
) -> None:
    path = write(tmp_path, content)
    if indexed:
        build_index(path).save(path.with_suffix(".idx"))
    with pytest.raises(ValueError, match=r"shard\.tar' holds no samples"):
        Dataset(str(path))
    assert [*stream_members(path)] == []
    (tmp_path / "other.tar").write_bytes(PLAIN)
    assert len(Dataset(str(tmp_path / "*.tar"))) == 1


ABSENT = {
    "an empty text": ({"jpg": b"x", "txt": b""}, 1),
    "a blank text": ({"jpg": b"x", "txt": b" \n"}, 1),
    "an empty text beside that of a json": ({"txt": b"", "json": b'{"text": "a"}'}, 4),
    "a text of a json that is blank": ({"jpg": b"x", "json": b'{"text": " "}'}, 1),
    "an empty picture": ({"jpg": b"", "txt": b"a"}, 4),
    "an empty recording": ({"jpg": b"x", "wav": b"", "txt": b"a"}, 5),
    "an empty json": ({"txt": b"a", "json": b""}, 4),
    "nothing at all": ({"jpg": b"", "wav": b"", "txt": b"", "json": b""}, 0),
    "a text that is damaged, which is another matter": ({"txt": b"\xff"}, 4),
    "no number in a field that nobody reads": ({"json": b'{"text": "a", "s": NaN}'}, 4),
}


@pytest.mark.parametrize(("files", "senses"), ABSENT.values(), ids=ABSENT)
def test_an_empty_file_is_a_sense_that_is_not_there(files, senses, tmp_path: Path) -> None:
    content = b"".join(entry(f"a.{extension}", data) for extension, data in files.items()) + END
    index = build_index(write(tmp_path, content))
    assert index.samples["senses"].tolist() == [senses]


def test_only_what_is_named_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, entry("a.jpg") + entry("a.cls") + entry("a.SEG.PNG") + TAIL[len(A) :])
    assert [m.extension for m in build_index(path, ("cls", "seg.png")).members(0)] == ["jpg"]
    with pytest.raises(ValueError, match=r"got 'seg\.png'"):
        build_index(path, ("cls", "png"))


def test_a_bit_that_turns_over_after_indexing_is_found_by_its_crc32(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    dataset = Dataset(str(path))
    for row in (0, 1):
        for member in dataset.shards[0].index.members(row):
            for position in (member.offset, member.offset + member.size - 1):
                path.write_bytes(flip(GOOD, position))
                reader = Reader(dataset)
                with pytest.raises(SampleError, match=rf"member .{member.extension}: .*crc32 is"):
                    reader.members(row)
                reader.members(1 - row)  # the control: the other sample is as it was
                reader.close()


def test_a_header_that_is_damaged_after_indexing_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    reader = Reader(Dataset(str(path)))
    path.write_bytes(flip(GOOD, len(A) + 1))
    reader.members(0)
    with pytest.raises(SampleError, match="checksum does not fit"):
        reader.members(1)
    reader.close()


def test_headers_that_go_back_do_not_turn_in_a_circle() -> None:
    with pytest.raises(ValueError, match="got -512"):
        first_name(entry("L", b"a.jpg", b"L", size=b"\xff" * 10 + b"\xfe\0"))


def test_an_index_that_names_what_no_shard_holds_is_refused(tmp_path: Path) -> None:
    index, path = build_index(write(tmp_path, GOOD)), tmp_path / "shard.idx"
    changes = (
        ("members", "kind", 200),
        ("members", "size", MAX_MEMBER_BYTES + 1),
        ("samples", "member", 4),
        ("samples", "senses", 255),
    )
    for table, column, value in changes:
        tables = {"samples": index.samples.copy(), "members": index.table.copy()}
        tables[table][column][1] = value
        changed = Index(tables["samples"], tables["members"], index.tar_bytes)
        changed.save(path)  # with a digest that fits
        with pytest.raises(ValueError, match="names members that no shard can hold"):
            Index.load(path)
    index.save(path)
    assert len(Index.load(path)) == 2, "the control"


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.idx"
    build_index(write(tmp_path, GOOD)).save(path)
    whole = path.read_bytes()
    faults = {
        "is cut": whole[:20],
        "is no index of this version": flip(whole, 0),
        "do not fit its header": whole[:-1],
        "digest does not fit": flip(whole, HEADER.itemsize + 3),
        "its digest does not fit": flip(whole, len(whole) - MEMBER.itemsize),
    }
    for rule, content in faults.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rule):
            Index.load(path)
