"""Samples with answers: their texts are questions, from the shard to the batch."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from data.prepare.__main__ import main
from omni.modality.text import END, Tokenizer
from omni.pipeline.collate import collate
from omni.pipeline.loader import Loader
from omni.pipeline.sample import decode_sample, read_samples
from omni.pipeline.synthetic import make_questions, make_samples
from omni.presets import debug
from tests.data.miniatures import media
from tests.data.picture_miniatures import vqav2

CONFIG = debug()
DATA = replace(CONFIG.data, path=("synthetic", "synthetic-questions"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Loader(DATA).learn_tokenizer(512)


def test_a_batch_has_questions_and_answers_apart_from_texts(tokenizer: Tokenizer) -> None:
    named = [s for s in make_samples("train", 24) if s.text]
    asked = make_questions("train", 6)
    mixed = [x for pair in zip(named, asked, strict=False) for x in pair]
    batch = collate(mixed, tokenizer, CONFIG.model)
    rows = torch.arange(len(mixed))
    assert batch.parts["text"].rows.tolist() == rows[::2].tolist()
    assert batch.parts["question"].rows.tolist() == rows[1::2].tolist()
    assert batch.parts["caption"].rows.tolist() == rows[::2].tolist()
    assert batch.parts["answer"].rows.tolist() == rows[1::2].tolist()
    plain = collate(named[:6], tokenizer, CONFIG.model)
    assert torch.equal(batch.parts["text"].data, plain.parts["text"].data)
    told = [tokenizer.decode(ids[1:]) for ids in batch.parts["caption"].data.tolist()]
    assert told == [sample.text for sample in named[:6]]
    for place, sample in enumerate(asked):
        question, answer = (batch.parts[n].data[place].tolist() for n in ("question", "answer"))
        assert tokenizer.decode(question) == sample.text
        assert answer[0] == tokenizer.language("en")
        assert tokenizer.decode(answer[1:]) == sample.answers[0]
        assert batch.parts["answer"].lengths[place] == answer.index(END) + 1
    table = replace(batch, key=rows).table()
    assert torch.equal(table.written[:, 1] > 0, rows % 2 == 1)
    assert not table.has("text")[1::2].any() and table.has("text")[::2].all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_is_told_answers_and_no_extra_text_asks(
    workers: int, tokenizer: Tokenizer
) -> None:
    loader = Loader(replace(DATA, workers=workers), seed=3)
    alone = [Loader(DATA, seed=3).batch(step, tokenizer, CONFIG.model) for step in range(4)]
    for batch, other in zip(loader.batches(0, 4, tokenizer, CONFIG.model), alone, strict=True):
        assert {"question", "answer"} <= batch.parts.keys() == other.parts.keys()
        for name, part in batch.parts.items():
            assert torch.equal(part.data, other.parts[name].data)
            assert torch.equal(part.rows, other.parts[name].rows)
        assert int(batch.parts["question"].rows.max()) < DATA.batch_size
        texts = [tokenizer.decode(ids) for ids in batch.parts["text"].data.tolist()]
        assert len(texts) > DATA.batch_size / 4 and not [t for t in texts if "what" in t]


def test_a_broken_control_leaves_question_and_answer_together(tokenizer: Tokenizer) -> None:
    whole, broken = (
        Loader(replace(DATA, shuffled=shuffled), 3).batch(0, tokenizer, CONFIG.model)
        for shuffled in (False, True)
    )
    assert torch.equal(whole.parts["question"].rows, broken.parts["question"].rows)
    assert torch.equal(whole.parts["answer"].data, broken.parts["answer"].data)
    assert not torch.equal(whole.parts["image"].rows, broken.parts["image"].rows)


def test_the_recipe_of_vqa_becomes_questions_with_answers(tmp_path: Path) -> None:
    for record in vqav2(tmp_path / "root"):
        for path in media(record):
            Image.new("RGB", (40, 30), "red").save(path)
    out = tmp_path / "out"
    assert main(["pack", "--recipe", "vqav2", str(tmp_path / "root"), str(out)]) == 0
    (sample,) = read_samples(str(out), "train")
    assert sample.text == "Is he down?" and Counter(sample.answers) == {"yes": 9, "no": 1}
    assert sample.group == sample.key  # what is asked of two pictures does not make them one
    assert [s.answers for s in read_samples(str(out), "test")] == [[]]
    data = replace(CONFIG.data, path=(str(out),), batch_size=1, extra_texts=0)
    loader = Loader(data)
    tokenizer = loader.learn_tokenizer(300)
    assert {"yes", "no"} <= {*loader.texts()[0]}
    drawn = []
    for batch in loader.batches(0, 40, tokenizer, CONFIG.model):
        assert batch.parts.keys() == {"image", "question", "answer"}
        drawn.append(tokenizer.decode(batch.parts["answer"].data[0, 1:].tolist()))
    assert set(drawn) == {"yes", "no"} and drawn.count("yes") > 25  # as often as people say it


@pytest.mark.parametrize(
    ("meta", "answers"),
    [
        ({"answer": "red"}, ["red"]),
        ({"answers": ["red", " ", "blue"]}, ["red", "blue"]),
        ({"answers": []}, []),
        ({}, []),
    ],
)
def test_answers_are_read_from_json(meta: dict, answers: list[str]) -> None:
    members = {"txt": b"what colour", "json": json.dumps(meta).encode()}
    assert decode_sample("k", members, 16_000).answers == answers
    assert decode_sample("k", {"json": members["json"]}, 16_000).answers == []  # nothing is asked


def test_an_answer_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="field 'answers' must be a string or several"):
        decode_sample("k", {"txt": b"?", "json": b'{"answers": [{"answer": "red"}]}'}, 16_000)
