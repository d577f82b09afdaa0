"""Questions in a step: answered, however they are dealt out, and in no other objective."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from omni.batch import SENSES, Batch, Part
from omni.modality.text import Tokenizer
from omni.pipeline.loader import Loader
from tests.training.test_step import CONFIG, MODEL, TOLERANCE, deal, difference, step_of, take

DATA = replace(CONFIG.data, path=("synthetic", "synthetic-questions"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Loader(DATA).learn_tokenizer(MODEL.text.vocab_size)


@pytest.fixture(scope="module")
def batch(tokenizer: Tokenizer) -> Batch:
    made = Loader(DATA).batch(0, tokenizer, MODEL)
    return take(made, (torch.arange(made.size) % 8).argsort(stable=True))


def test_any_number_of_micro_batches_answers_alike(batch: Batch, tokenizer: Tokenizer) -> None:
    whole = step_of([batch], tokenizer)
    assert whole[1]["next_token/answer"] > 0
    for count in (2, 8):
        assert max(difference(whole, step_of(deal(batch, count), tokenizer))) < TOLERANCE, count
    # All questions in the second half: the first has none.
    asks = torch.isin(torch.arange(batch.size), batch.parts["question"].rows)
    sorted_ = take(batch, asks.int().argsort(stable=True))
    parts = deal(sorted_, 2)
    assert "question" not in parts[0].parts
    one, two = step_of([sorted_], tokenizer), step_of(parts, tokenizer)
    assert max(difference(one, two)) < TOLERANCE


def test_all_of_a_step_may_be_questions(batch: Batch, tokenizer: Tokenizer) -> None:
    asked = take(batch, batch.parts["question"].rows)
    assert "text" not in asked.parts
    whole, parts = step_of([asked], tokenizer), step_of(deal(asked, 2), tokenizer)
    assert {"next_token/answer", "contrastive/image-audio"} <= whole[1].keys()
    assert not [n for n in whole[1] if "text" in n or n == "next_token/image"]
    assert max(difference(whole, parts)) < TOLERANCE


def test_nothing_else_knows_of_a_question(batch: Batch, tokenizer: Tokenizer) -> None:
    whole, asked = step_of([batch], tokenizer)[1], batch.parts["question"]
    turned = Part(asked.data.roll(1, 0), asked.rows, asked.lengths.roll(1, 0))
    others = step_of([replace(batch, parts=batch.parts | {"question": turned})], tokenizer)[1]
    assert [n for n in whole if whole[n] != others[n]] == ["next_token/answer"]
    told = {*SENSES, "caption"}
    parts = {name: part for name, part in batch.parts.items() if name in told}
    plain = step_of([replace(batch, parts=parts)], tokenizer)[1]
    assert plain == {n: loss for n, loss in whole.items() if n != "next_token/answer"}
    # Control: as captions they would be compared with pictures.
    text = batch.parts["text"]
    size = max(text.data.shape[1], asked.data.shape[1])
    data = [F.pad(part.data, (0, size - part.data.shape[1])) for part in (text, asked)]
    rows, order = torch.cat([text.rows, asked.rows]).sort()
    lengths = torch.cat([text.lengths, asked.lengths])
    captions = Part(torch.cat(data)[order], rows, lengths[order])
    wrong = replace(batch, parts=parts | {"text": captions})
    name = "contrastive/image-text"
    assert abs(step_of([wrong], tokenizer)[1][name] - plain[name]) > 100 * TOLERANCE
