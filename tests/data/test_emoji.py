"""The committed emoji shards keep the promises of data/README.md; needs neither npm nor espeak."""

import gc
import hashlib
import io
import json
import re
import tarfile
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset
from PIL import Image

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
SPLITS = ("train", "test", "new")
MAX_BYTES = 24_000_000
KEYED = 40  # one sample in so many is decoded


def read_shard(path: Path) -> dict[str, dict[str, bytes]]:
    """Read key -> extension -> bytes, with the members in the order of the file."""
    samples = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, extension = member.name.split(".")
            samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return samples


@pytest.fixture(scope="module")
def corpus() -> dict[str, dict[str, dict[str, bytes]]]:
    splits = {split: {} for split in SPLITS}
    for path in sorted(SAMPLE.glob("*.tar")):
        splits[path.name.split("-")[0]] |= read_shard(path)
    return splits


@pytest.fixture(scope="module")
def records(corpus) -> dict[str, list[dict]]:
    return {
        split: [json.loads(parts["json"]) for parts in samples.values()]
        for split, samples in corpus.items()
    }


def values(records: list[dict], *names: str) -> set[tuple]:
    return {tuple(record[name] for name in names) for record in records if names[-1] in record}


def decoded_subset(corpus, extension: str) -> list[bytes]:
    """Every 40th sample that has the part, over all splits."""
    samples = [parts for split in SPLITS for parts in corpus[split].values() if extension in parts]
    return [parts[extension] for parts in samples[::KEYED]]


def test_no_unseen_concept_is_trained_on(records):
    trained = values(records["train"], "concept")
    for split in ("test", "new"):
        unseen = {(r["concept"],) for r in records[split] if r.get("unseen")}
        assert 0.05 < len(unseen) / len(records[split]) < 0.15
        assert values(records[split], "concept") - unseen == trained
        assert not unseen & trained


def test_the_test_has_no_drawing_and_no_voice_of_a_concept_that_train_has(records):
    for held_out in ("style", "voice"):
        trained = values(records["train"], "concept", held_out)
        assert not trained & values(records["test"], "concept", held_out)


def test_every_voice_and_style_of_the_test_is_trained_on(records):
    for part in ("style", "voice"):
        assert values(records["test"], part) == values(records["train"], part)


def test_no_style_voice_or_variant_of_new_occurs_elsewhere(records):
    known = records["train"] + records["test"]
    assert values(records["new"], "style") == {("fluent-emoji-flat",)}
    assert not values(known, "style") & values(records["new"], "style")
    variants = {voice.split("+")[1] for (voice,) in values(known, "voice")}
    new_variants = {voice.split("+")[1] for (voice,) in values(records["new"], "voice")}
    assert (len(variants), len(new_variants)) == (24, 3)
    assert not variants & new_variants


def test_test_and_new_hold_every_concept_once(records):
    concepts = [sorted(r["concept"] for r in records[split]) for split in ("test", "new")]
    assert concepts[0] == concepts[1]
    assert len(set(concepts[0])) == len(concepts[0])
    assert len(values(records["test"], "concept")) == len(
        {r["names"]["en"] for r in records["test"]}
    )


def test_keys_and_members_have_the_promised_form(corpus):
    keys = [key for split in SPLITS for key in corpus[split]]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-z_-]+", key) for key in keys)
    for split in SPLITS:
        for key, parts in corpus[split].items():
            record = json.loads(parts["json"])
            order = ("webp", "opus", "json") if "voice" in record else ("webp", "json")
            assert tuple(parts) == order, key
            assert len(parts["json"]) <= 512, key


def test_members_of_a_sample_are_adjacent_and_carry_no_date_or_user():
    for path in sorted(SAMPLE.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        runs = [key for key, _ in groupby(members, lambda member: member.name.split(".")[0])]
        assert len(set(runs)) == len(runs), path.name
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {
            (0, 0, 0, "omni", "omni")
        }
        assert not any(member.pax_headers for member in members), path.name


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's, not ours
def test_stock_webdataset_reads_every_sample(corpus):
    shards = [str(path) for path in sorted(SAMPLE.glob("*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=False)
    read = [sample["__key__"] for sample in dataset]
    gc.collect()  # here, where the warning is expected
    assert read == [key for split in sorted(SPLITS) for key in corpus[split]]


def test_recordings_are_16_khz_mono_and_not_silent(corpus):
    for opus in decoded_subset(corpus, "opus"):
        samples, sample_rate = soundfile.read(io.BytesIO(opus))
        assert (sample_rate, samples.ndim) == (16_000, 1)
        assert 0.1 < len(samples) / sample_rate < 3
        assert np.abs(samples).max() > 0.5


def test_pictures_are_64_by_64_and_not_blank(corpus):
    for webp in decoded_subset(corpus, "webp"):
        picture = Image.open(io.BytesIO(webp))
        assert (picture.format, picture.size, picture.mode) == ("WEBP", (64, 64), "RGB")
        assert np.asarray(picture).std() > 5


def test_train_names_cover_every_language(records):
    languages = {language for record in records["test"] for language in record["names"]}
    covered = {language for record in records["train"] for language in record["names"]}
    assert len(languages) == 28
    assert covered == languages
    assert all("en" in record["names"] for split in SPLITS for record in records[split])


def test_sha256sums_match_and_name_every_file():
    lines = (SAMPLE / "SHA256SUMS").read_text().splitlines()
    expected = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert {*expected, "SHA256SUMS"} == {path.name for path in SAMPLE.iterdir()}
    for name, digest in expected.items():
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == digest, name


def test_the_sample_stays_within_its_bytes():
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) <= MAX_BYTES


def test_every_style_has_one_licence_and_its_attribution(records):
    pairs = set().union(*(values(records[split], "style", "licence") for split in SPLITS))
    assert len(pairs) == 6
    attributions = (SAMPLE / "LICENSES.md").read_text(encoding="utf-8")
    for style, licence in pairs:
        row = next(line for line in attributions.splitlines() if line.startswith(f"| {style} |"))
        assert licence.replace("CC-BY", "CC BY").split("-")[0] in row
