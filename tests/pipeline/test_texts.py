"""Which of a sample's texts a batch takes, and in which language."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import chisquare

from omni.batch import Batch
from omni.modality.text import Tokenizer
from omni.pipeline import sample as samples
from omni.pipeline.assemble import draw_numbers
from omni.pipeline.dataset import Dataset
from omni.pipeline.loader import Loader
from omni.pipeline.writer import write_manifest, write_shard
from tests.pipeline.shards import MODEL, make_members, settings


def test_texts_are_chosen_among_all_that_a_sample_has(tmp_path, tokenizer):
    captions = {"captions": ["one", "two", "three"]}
    members = {"txt": b"sample", "json": json.dumps(captions).encode()}
    write_shard(tmp_path / "train-000000.tar", [("a", members)])
    loader = Loader(settings(tmp_path, batch_size=32, extra_texts=0), seed=0)
    ids = loader.batch(0, tokenizer, MODEL).parts["text"].data
    texts = {tokenizer.decode(row.tolist()) for row in ids}
    assert texts == {"sample", "one", "two", "three"}


def write_two_languages(folder: Path, *senses: str) -> Tokenizer:
    """Sixteen samples that hold some senses in turn, named in English and German; a tokenizer."""
    names = {"json": json.dumps({"names": {"en": "sample", "de": "muster"}}).encode()}
    members = [make_members(n, s) | names for n, s in enumerate(senses * (16 // len(senses)))]
    write_shard(folder / "train-000000.tar", [(f"s{n}", m) for n, m in enumerate(members)])
    return Tokenizer.train(["sample muster " * 4], ["en", "de"], 300)


def languages_of(batch: Batch) -> dict[int, int]:
    """The token of the language in which each sample is written, by its row."""
    rows, captions = batch.parts["text"].rows, batch.parts["caption"].data
    return dict(zip(rows.tolist(), captions[:, 0].tolist(), strict=True))


def test_only_pictures_without_speech_are_named_in_other_languages(tmp_path):
    """Those with speech keep the language that is spoken, and so do texts alone."""
    both = write_two_languages(tmp_path, "image", "image+audio")
    loader = Loader(settings(tmp_path, batch_size=16, extra_texts=8, foreign=1.0), seed=0)
    batch = loader.batch(0, both, MODEL)
    languages = languages_of(batch)
    spoken = {*batch.parts["audio"].rows.tolist(), *range(16, 24)}
    assert len(languages) == 24 and len(spoken) == 16
    assert {row for row, token in languages.items() if token == both.language("en")} == spoken


def test_what_is_said_comes_in_another_language_too_as_a_text_of_the_same_group(tmp_path):
    both = write_two_languages(tmp_path, "image", "audio+text")
    config = settings(tmp_path, batch_size=16, extra_texts=0, foreign=0.0, translated=1.0)
    batch = Loader(config, seed=0).batch(0, both, MODEL)
    said = batch.parts["audio"].rows
    assert batch.size == 16 + len(said) and len(said) == 8
    assert batch.group[16:].tolist() == batch.group[said].tolist()
    assert [*languages_of(batch).values()][-8:] == [both.language("de")] * 8
    assert batch.parts["caption"].rows[-8:].tolist() == [*range(16, 24)]  # not of the recordings
    half = Loader(replace(config, translated=0.5), seed=0).batch(0, both, MODEL)
    assert 16 < half.size < 24


def test_of_the_languages_of_a_text_those_are_taken_that_are_asked_for(tmp_path):
    names = {"en": "sample", "de": "muster", "fr": "exemple", "it": "campione"}
    about = {"json": json.dumps({"names": names}).encode()}
    members = [(f"s{n}", make_members(n, "image") | about) for n in range(16)]
    write_shard(tmp_path / "train-000000.tar", members)
    for asked, found in (((), {"de", "fr", "it"}), (("de", "it", "xx"), {"de", "it"})):
        config = settings(tmp_path, batch_size=16, extra_texts=0, foreign=1.0, languages=asked)
        loader = Loader(config, seed=0)
        tokenizer = loader.make_tokenizer(replace(MODEL.text, vocab_size=400))
        assert {*tokenizer.languages} == {"en", *found}
        taken = {
            token
            for step in range(4)
            for token in languages_of(loader.batch(step, tokenizer, MODEL)).values()
        }
        assert taken == {tokenizer.language(language) for language in found}


HAVE = {"de": 48, "fr": 24, "it": 12}
"""samples that have each language; the first twelve have all"""


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """48 pictures named in up to four languages, in two shards and their manifest."""
    for shard in range(2):
        members = []
        for number in range(24 * shard, 24 * shard + 24):
            names = {"en": "sample"} | {code: code * 3 for code, n in HAVE.items() if number < n}
            about = {"json": json.dumps({"names": names}).encode()}
            members.append((f"s{number:02d}", make_members(number, "image") | about))
        write_shard(tmp_path / f"train-{shard:06d}.tar", members)
    write_manifest(tmp_path)
    return tmp_path


LANGUAGES = Tokenizer.train(["sample " * 4], ["en", *HAVE], 300)


def drawn(loader: Loader, start: int, stop: int) -> list[tuple[int, str]]:
    """Number and language of every sample of some steps."""
    codes, found = {token: code for code, token in LANGUAGES.languages.items()}, []
    for step, batch in enumerate(loader.batches(start, stop, LANGUAGES, MODEL), start):
        numbers = [pick.number for pick in loader.plan.batch(step)]
        languages = languages_of(batch).items()
        found += [(numbers[row], codes[token]) for row, token in languages]
    return found


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_languages_are_drawn_by_a_power_of_how_many_samples_have_them(several, alpha):
    config = settings(several, batch_size=48, extra_texts=0, foreign=1.0, language_alpha=alpha)
    found = drawn(Loader(config, seed=3), 0, 80)
    counts = Counter(language for number, language in found if number < HAVE["it"])
    observed = [counts[code] for code in HAVE]
    assert sum(observed) == 80 * HAVE["it"]  # one epoch a step
    for power in (0.0, 0.5, 1.0):
        odds = [n**power for n in HAVE.values()]
        chance = chisquare(observed, [sum(observed) * x / sum(odds) for x in odds]).pvalue
        assert chance > 0.01 if power == alpha else chance < 1e-6, power
    # Only languages that a sample has, and the same ones when a run goes on, in processes too.
    assert all(number < HAVE[language] for number, language in found)
    again = Loader(replace(config, workers=1), seed=3)
    assert drawn(again, again.restore(Loader(config, seed=3).state(77)), 80) == found[77 * 48 :]


def test_without_a_power_languages_are_those_that_they_were_before_there_was_one(several):
    (several / "dataset.json").unlink()  # it is not asked for
    loader = Loader(settings(several, batch_size=48, extra_texts=0, foreign=1.0), seed=3)
    expected = []
    for step in range(4):
        picks = loader.plan.batch(step)
        firsts = draw_numbers(3, picks)[:, 1].tolist()
        for pick, first in zip(picks, firsts, strict=True):
            others = [code for code, n in HAVE.items() if pick.number < n]
            expected.append((pick.number, others[int(first / 2**64 * len(others))]))
    assert drawn(loader, 0, 4) == expected


def test_how_often_there_is_a_language_must_be_told_of_these_very_shards(several):
    def load(alpha: float = 0.3) -> Loader:
        return Loader(settings(several, language_alpha=alpha))

    assert load().plan.languages == {"en": 48} | HAVE
    with pytest.raises(ValueError, match=r"data.language_alpha must not be < 0, got -1"):
        load(-1.0)
    manifest = several / "dataset.json"
    told = json.loads(manifest.read_text())
    told["shards"][1]["languages"]["de"] = -1
    manifest.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="is no manifest of shards"):
        load()
    del told["shards"][1]["languages"]
    manifest.write_text(json.dumps(told))  # as it was written before languages were counted
    with pytest.raises(ValueError, match=r"train-000001.tar has .* python -m data.prepare index"):
        load()
    write_manifest(several)
    other = {"txt": b"sample", "json": b'{"language": "de"}'}
    write_shard(several / "train-000000.tar", [("x", other)])
    with pytest.raises(ValueError, match=r"train-000000.tar has"):
        load()
    manifest.unlink()
    with pytest.raises(ValueError, match=r"train-000000.tar has"):
        load()
    write_manifest(several)
    assert load().plan.languages == {"en": 24, "de": 25}


def test_texts_are_read_up_to_a_limit_and_past_what_is_damaged(tmp_path, monkeypatch):
    members = [{"txt": f"sample {n}".encode(), "json": b'{"answer": "yes"}'} for n in range(5)]
    members[1]["json"] = b"{"
    write_shard(tmp_path / "train-000000.tar", [(f"s{n}", m) for n, m in enumerate(members)])
    dataset = Dataset(str(tmp_path))
    assert [s.text for s in samples.read_texts(dataset)] == [f"sample {n}" for n in (0, 2, 3, 4)]
    monkeypatch.setattr(samples, "MANY_TEXTS", 3)
    assert [(s.text, s.answers) for s in samples.read_texts(dataset)] == [
        ("sample 0", ["yes"]),
        ("sample 2", ["yes"]),
    ]
