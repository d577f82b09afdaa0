"""Which of a sample's texts a batch takes, and in which language."""

import json
from dataclasses import replace

from omni.modality.text import Tokenizer
from omni.pipeline.loader import Loader
from omni.pipeline.writer import write_shard
from tests.pipeline.shards import MODEL, make_members, settings


def test_texts_are_chosen_among_all_that_a_sample_has(tmp_path, tokenizer):
    captions = {"captions": ["one", "two", "three"]}
    members = {"txt": b"sample", "json": json.dumps(captions).encode()}
    write_shard(tmp_path / "train-000000.tar", [("a", members)])
    loader = Loader(settings(tmp_path, batch_size=32, extra_texts=0), seed=0)
    ids = loader.batch(0, tokenizer, MODEL).parts["text"].data
    texts = {tokenizer.decode(row.tolist()) for row in ids}
    assert texts == {"sample", "one", "two", "three"}


def test_only_pictures_without_speech_are_named_in_other_languages(tmp_path):
    """Those with speech keep the language that is spoken, and so do texts alone."""
    names = {"json": json.dumps({"names": {"en": "sample", "de": "muster"}}).encode()}
    senses = ("image", "image+audio") * 8
    members = [make_members(n, s) | names for n, s in enumerate(senses)]
    write_shard(tmp_path / "train-000000.tar", [(f"s{n}", m) for n, m in enumerate(members)])
    both = Tokenizer.train(["sample muster " * 4], ["en", "de"], 300)
    loader = Loader(settings(tmp_path, batch_size=16, extra_texts=8, foreign=1.0), seed=0)
    batch = loader.batch(0, both, MODEL)
    languages = dict(zip(batch.parts["text"].rows.tolist(), batch.language.tolist(), strict=True))
    spoken = {*batch.parts["audio"].rows.tolist(), *range(16, 24)}
    assert len(languages) == 24 and len(spoken) == 16
    assert {row for row, token in languages.items() if token == both.language("en")} == spoken


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
            row
            for step in range(4)
            for row in loader.batch(step, tokenizer, MODEL).language.tolist()
        }
        assert taken == {tokenizer.language(language) for language in found}
