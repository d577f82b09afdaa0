"""Media that are there twice are found, however they are stored; others are not taken for them."""

import numpy as np
import pytest
from PIL import Image

from data.prepare.copies import BANDS, DISTANCE, near, repeated
from data.prepare.findings import WARNING
from tests.data.samples import (
    damage,
    diagnose,
    drawing,
    encoded,
    fine,
    noise,
    picture,
    recording,
    the_error,
    titles,
    write,
)


def test_exact_duplicates_are_found(tmp_path):
    samples = fine()
    samples[8] = "again", samples[2][1] | {"json": b'{"id": 5}'}
    error = the_error(diagnose(write(tmp_path / "set", samples)))
    assert (error.title, error.count) == ("exact duplicates of other samples", 1)
    assert error.examples == ("train-000001.tar/again is train-000000.tar/s2",)
    samples[8][1]["txt"] = b"another caption of the same"
    assert titles(diagnose(write(tmp_path / "control", samples))) == []


def as_stored_again(seed: int) -> bytes:
    return encoded(drawing(seed).resize((96, 96), Image.Resampling.BICUBIC), quality=75)


def in_other_colours(seed: int) -> bytes:
    return encoded(drawing(seed).convert("L").convert("RGB"))


LEAKS = [
    ({"jpg": picture(3)}, ["same"]),
    ({"jpg": as_stored_again(3)}, ["same"]),
    ({"wav": recording(noise(3))}, ["same"]),
    ({"flac": recording(noise(3), "FLAC")}, ["same"]),
    ({"jpg": as_stored_again(3), "txt": b"words of its own"}, ["other"]),
    ({"wav": recording(noise(3)), "txt": b"words of its own"}, ["other"]),
    ({"jpg": in_other_colours(3)}, []),
    ({"txt": b"words and no medium"}, []),
    ({"jpg": picture(3) + b" ", "wav": recording(noise(500))}, ["same"]),
]


@pytest.mark.parametrize(("members", "words"), LEAKS)
def test_media_of_a_test_set_are_found(tmp_path, members, words):
    folder = write(tmp_path / "set", [*fine(), ("words", {"txt": b"words and no medium"})])
    leaked = {"txt": dict(fine())["s3"]["txt"]} | members
    write(folder, [*fine(100), ("leaked", leaked)], "test")
    found = titles(diagnose(folder))
    assert found == [f"media of {folder} (test) that are here too, with the {w} words".replace(
        "the other", "other") for w in words]  # fmt: skip
    assert titles(diagnose(folder, "--against")) == []
    assert titles(diagnose(folder, "--against", f"{folder}:test")) == found


def test_few_media_with_other_words_are_a_warning(tmp_path):
    folder = write(tmp_path / "set", fine())
    tests = [(f"t{i}", {"jpg": picture(1000 + i), "txt": b"a word"}) for i in range(60)]
    write(folder, [*tests, ("leaked", {"jpg": picture(3), "txt": b"other words"})], "test")
    found = diagnose(folder)
    assert titles(found) == []
    assert titles(found, WARNING) == [
        f"media of {folder} (test) that are here too, with other words"
    ]


def test_a_damaged_test_set_is_found(tmp_path):
    folder = write(write(tmp_path / "set", fine()), fine(100), "test")
    tar = folder / "test-000001.tar"
    tar.write_bytes(damage(tar.read_bytes(), "truncated"))
    assert the_error(diagnose(folder)).title.startswith(f"{folder} (test): shards that are damaged")


def test_a_split_of_which_nothing_is_left_is_reported(tmp_path):
    folder = write(write(tmp_path / "set", fine()), fine(100), "test")
    for tar in folder.glob("*.tar"):
        tar.write_bytes(damage(tar.read_bytes(), "truncated"))
    damaged = "shards that are damaged, cut or no shards"
    found = diagnose(folder)
    expected = [damaged, f"{folder} (test): {damaged}", "fewer samples than one batch"]
    assert titles(found) == expected
    assert [finding.count for finding in found if finding.title == damaged] == [2]


def test_near_hashes_are_all_found_and_no_others():
    generator = np.random.default_rng(0)
    ours = generator.integers(1, 2**64, 300, np.uint64, endpoint=False)
    flips = [generator.choice(64, generator.integers(0, 8), replace=False) for _ in range(200)]
    masks = np.array([sum(1 << int(bit) for bit in each) for each in flips], np.uint64)
    theirs = ours[:200] ^ masks
    theirs[7] = 0
    distance = np.bitwise_count(ours[:, None] ^ theirs[None])
    expected = {(i, j) for i, j in np.argwhere(distance <= DISTANCE).tolist() if j != 7}
    pairs = [
        (i, j) for a, b in near(ours, theirs) for i, j in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert {*pairs} == expected
    assert len(expected) > 50
    assert BANDS > DISTANCE


def test_repeated_digests_are_those_that_came_before():
    digests = np.array([5, 0, 7, 5, 0, 5, 8], np.uint64)
    assert repeated(digests).tolist() == [3, 5]
    assert repeated(digests[:0]).tolist() == []
