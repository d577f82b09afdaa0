"""Each planted problem is found, as the one error; without it, the same data set has none."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.prepare.__main__ import main
from data.prepare.findings import ERROR, OK, WARNING
from data.prepare.languages import foreign_script
from data.prepare.survey import RECORD
from omni.modality.text import Tokenizer
from omni.pipeline.plan import few_samples
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


def test_a_data_set_without_a_problem_passes(tmp_path):
    write(write(tmp_path / "set", fine()), fine(100), "test")
    found = diagnose(tmp_path / "set")
    assert titles(found) == titles(found, WARNING) == []
    assert sum("set (test)" in finding.title for finding in found) == 2  # it was compared


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("what", ["header", "a later header", "truncated"])
def test_a_damaged_shard_is_found_and_does_not_hide_the_others(tmp_path, what, indexed):
    samples = fine()
    samples[9][1]["wav"] = recording(noise(9) * 0)
    folder = write(tmp_path / "set", samples)
    tar = folder / "train-000000.tar"
    if not indexed:
        tar.with_suffix(".idx").unlink()
    assert titles(diagnose(folder)) == ["silent recordings"]
    tar.write_bytes(damage(tar.read_bytes(), what))
    found = diagnose(folder)
    assert titles(found) == ["shards that are damaged, cut or no shards", "silent recordings"]
    assert found[0].count == 1
    assert found[0].examples[0].startswith("train-000000.tar: ")


def test_a_member_whose_crc32_does_not_fit_is_found(tmp_path):
    folder = write(tmp_path / "set", fine())
    tar = folder / "train-000001.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"a cold thing")] ^= 1
    tar.write_bytes(data)
    error = the_error(diagnose(folder))
    assert error.title == "members whose crc32 does not fit the index"
    assert error.count == 1
    assert "'s11', member .txt" in error.examples[0]


def test_an_index_of_another_tar_is_found(tmp_path):
    folder = write(tmp_path / "set", fine())
    samples = fine()
    samples[1], samples[2] = samples[2], samples[1]
    samples[1][1]["txt"] += b" and words of more than a block " * 20
    samples[2][1]["jpg"] = samples[2][1]["jpg"][:-600]
    other = write(tmp_path / "other", samples)
    tar = other / "train-000000.tar"
    data = tar.read_bytes()
    size = (folder / tar.name).stat().st_size
    (folder / tar.name).write_bytes(data + bytes(size - len(data)))  # zeros may follow the end
    error = the_error(diagnose(folder))
    assert error.title == "indexes that do not fit their shard"


FLAC = recording(noise(0), "FLAC")
DECODED = {
    "pictures that cannot be decoded": [
        {"jpg": picture(0)[:900]},
        {"jpg": b"no picture at all"},
        {"jpg": None, "png": picture(0, "PNG")[:2000]},
    ],
    "recordings that cannot be decoded": [
        {"wav": None, "flac": FLAC[: len(FLAC) // 2]},
        {"wav": recording(noise(0))[:1000]},
        {"wav": b"no recording at all"},
    ],
    "silent recordings": [
        {"wav": recording(noise(0) * 0)},
        {"wav": recording((noise(0) // 4500).astype(np.int16))},
    ],
    "pictures of one colour": [
        {"jpg": encoded(Image.new("RGB", (48, 48), "white"))},
        {"jpg": encoded(Image.new("RGB", (48, 48), (200, 30, 90)), quality=60)},
    ],
    "texts that are too long or not UTF-8": [
        {"txt": "früh".encode("latin-1")},
        {"txt": b"long " * 20_000},
        {"json": b'{"text": "\\ud800 half"}'},
        {"json": b"[1]"},
    ],
    "texts in another script than their language's": [
        {"txt": "一辆红色的自行车".encode()},
        {"json": json.dumps({"names": {"zh": "a red bicycle"}}).encode()},
    ],
}


@pytest.mark.parametrize(
    ("title", "members"), [(title, members) for title in DECODED for members in DECODED[title]]
)
def test_a_bad_member_is_found(tmp_path, title, members):
    samples = fine()
    assert titles(diagnose(write(tmp_path / "control", samples))) == []
    changed = samples[4][1] | members  # None takes a member away
    samples[4] = "s4", {name: data for name, data in changed.items() if data is not None}
    error = the_error(diagnose(write(tmp_path / "set", samples)))
    assert (error.title, error.count) == (title, 1)
    assert error.examples[0].startswith("train-000000.tar/s4.")


@pytest.mark.parametrize(
    "members", [{"jpg": b""}, {"opus": b"", "wav": None}, {"txt": b""}, {"txt": b" \n"}]
)
def test_files_with_nothing_in_them_are_a_warning(tmp_path, members):
    samples = fine()
    changed = samples[4][1] | members
    samples[4] = "s4", {name: data for name, data in changed.items() if data is not None}
    found = diagnose(write(tmp_path / "set", samples))
    assert titles(found) == []
    assert titles(found, WARNING) == ["files with nothing in them, which count as absent"]


def test_a_tar_without_samples_is_a_warning(tmp_path):
    folder = write(tmp_path / "set", fine())
    (folder / "train-000002.tar").write_bytes(bytes(10_240))
    found = diagnose(folder)
    assert titles(found) == []
    assert titles(found, WARNING) == ["shards without a sample, which are passed over"]


def test_few_samples_of_odd_content_are_a_warning(tmp_path):
    blank = encoded(Image.new("RGB", (48, 48), "white"), "PNG")
    title = "pictures of one colour"
    for count, severity in ((1, WARNING), (2, ERROR)):
        samples = [(f"s{i}", {"jpg": picture(i)}) for i in range(150 - count)]
        samples += [(f"blank{i}", {"png": blank}) for i in range(count)]
        found = diagnose(write(tmp_path / str(count), samples), "--batch-size", "1")
        assert titles(found, severity) == [title]


def test_a_language_that_the_tokenizer_does_not_know_is_found(tmp_path):
    samples = fine()
    samples[7][1]["json"] = b'{"names": {"xx": "one", "de": "eins"}}'
    folder = write(tmp_path / "set", samples)
    assert titles(diagnose(folder)) == []  # there is no tokenizer yet
    Tokenizer.train(["one"], ["en", "de"], 300).save(folder / "tokenizer.json")
    error = the_error(diagnose(folder))
    assert error.title == "languages that tokenizer.json does not know"
    assert error.examples == ("'xx': 1 texts, as train-000001.tar/s7",)
    Tokenizer.train(["one"], ["en", "de", "xx"], 300).save(folder / "tokenizer.json")
    assert titles(diagnose(folder)) == []


@pytest.mark.parametrize(
    ("text", "language", "script"),
    [
        ("一辆红色的自行车", "en", "CJK"),
        ("一辆红色的自行车", "zh-Hant", ""),
        ("a red bicycle", "ru", "LATIN"),
        ("iPhone 12", "ru", ""),
        ("красный велосипед", "en-gb", "CYRILLIC"),
        ("crvena jabuka", "sr-Latn", ""),
        ("赤い自転車", "ja", ""),
        ("あかいりんご", "ko", "HIRAGANA"),
        ("the letter 水", "en", ""),
        ("12:30 ?!", "zh", ""),
        ("anything", "tlh", ""),
    ],
)
def test_a_script_contradicts_a_language_or_does_not(text, language, script):
    assert foreign_script(text, language) == script


def test_too_few_shards_or_samples_are_a_warning_with_a_remedy(tmp_path):
    folder = write(tmp_path / "set", fine())
    found = diagnose(folder, "--ranks", "1", "--workers", "2", "--batch-size", "12")
    assert titles(found) == titles(found, WARNING) == []
    found = diagnose(folder, "--ranks", "2", "--workers", "2", "--batch-size", "13")
    assert titles(found) == []
    few = "fewer shards than ranks x workers", "fewer samples than one batch"
    assert titles(found, WARNING) == [*few]
    (finding,) = (finding for finding in found if finding.title == few[1])
    assert finding.examples == (few_samples(12, 13),)
    assert "--data.batch-size 12" in few_samples(12, 13)


def test_data_that_cannot_keep_up_is_found(tmp_path):
    folder = write(tmp_path / "set", fine())
    title = "reading and decoding against the length of a step"
    assert the_error(diagnose(folder, "--step-seconds", "1e-7")).title == title
    slow = diagnose(folder, "--step-seconds", "1e4")
    assert titles(slow) == titles(slow, WARNING) == []
    (finding,) = [finding for finding in slow if finding.title == title]
    assert "MB/s" in finding.examples[0]


def test_what_costs_time_only_is_a_warning(tmp_path):
    samples = fine()
    samples[1][1]["wav"] = recording(noise(1), rate=44_100)
    samples[2][1]["jpg"] = encoded(drawing(2).resize((700, 600)))
    samples[9] = "s2", samples[9][1]
    found = diagnose(write(tmp_path / "set", samples))
    assert titles(found) == []
    assert titles(found, WARNING) == [
        "keys that an earlier shard has too",
        "recordings not at 16,000 Hz: resampled at each read",
        "pictures of more than 512 pixels on the shorter side",
    ]


def test_a_damaged_sample_can_be_named_in_other_findings(tmp_path):
    samples = fine()
    samples[2][1]["jpg"] = encoded(drawing(2).resize((700, 600)))
    folder = write(tmp_path / "set", samples)
    tar = folder / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"a blue thing")] ^= 1
    tar.write_bytes(data)
    found = diagnose(folder)
    assert titles(found) == ["members whose crc32 does not fit the index"]
    assert found[-1].examples == ("train-000000.tar/s2: 600 pixels",)


def test_a_limit_decodes_fewer_samples_and_reads_all(tmp_path):
    samples = fine()
    for key, members in samples[:6]:
        members["wav"] = recording(noise(0) * 0 + int(key[1:]) % 2)
    folder = write(tmp_path / "set", samples)
    assert the_error(diagnose(folder)).count == 6
    assert the_error(diagnose(folder, "--limit", "4")).count == 2
    tar = folder / "train-000001.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"a cold thing")] ^= 1
    tar.write_bytes(data)
    assert len(titles(diagnose(folder, "--limit", "1"))) == 1


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path):
    samples = fine()
    samples[1][1]["jpg"] = samples[1][1]["jpg"][:800]
    samples[8][1]["wav"] = recording(noise(8) * 0)
    samples[10] = "again", samples[2][1]
    folder = write(tmp_path / "set", samples)
    one, two = (diagnose(folder, "--processes", n) for n in ("1", "2"))
    unmeasured = "reading and decoding"
    assert len(titles(one)) == 3
    assert [f for f in one if not f.title.startswith(unmeasured)] == [
        f for f in two if not f.title.startswith(unmeasured)
    ]


def test_the_exit_status_says_what_came_of_it(tmp_path, capsys):
    folder = write(tmp_path / "set", fine())
    usual = ["check", str(folder), "--processes", "1", "--batch-size"]
    assert main([*usual, "4"]) == 0
    assert "12 in 2 shards" in capsys.readouterr().out
    assert main([*usual, "64"]) == 0
    assert "errors: 0, warnings: 1" in capsys.readouterr().out
    for wrong in (
        ["--split", "nope"],
        ["--step-seconds", "0"],
        ["--workers", "-1"],
        ["--against", "nowhere.tar"],
    ):
        assert main([*usual, "4", *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    (folder / "train-000001.tar").write_bytes(b"")
    assert main([*usual, "4"]) == 1
    assert "errors: 1" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main([*usual, "0"])


def test_hostile_keys_and_texts_are_printed_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    samples = fine()
    samples[3] = "[bold]k[/nope]", samples[3][1] | {"txt": "一辆红[/b]车".encode(), "wav": b""}
    folder = write(tmp_path / "set", samples)
    assert main(["check", str(folder), "--processes", "1", "--batch-size", "4"]) == 1
    out = capsys.readouterr().out
    assert "train-000000.tar/[bold]k[/nope].wav: 0 bytes" in out
    assert "'一辆红[/b]车'" in out


def test_a_record_stays_small():
    assert RECORD.itemsize <= 64


SLOW = [pytest.param(split, marks=pytest.mark.slow) for split in ("train", "new")]


@pytest.mark.parametrize("split", ["test", *SLOW])
def test_the_sample_shards_pass(split):
    sample = Path(__file__).parents[2] / "data" / "sample"
    against = ["--against"] if split == "test" else []
    found = diagnose(sample, "--split", split, "--batch-size", "128", *against)
    assert titles(found) == []
    assert len(titles(found, OK)) > 15
