"""Questions about what is seen and heard: answered from the media, and from nothing else."""

from typing import Any

import numpy as np
import pytest
import torch

from eval.corpus import item
from omni import generate as sampling
from omni.batch import Sample
from omni.interface import Omni, load
from omni.items import Item
from omni.pipeline.synthetic import make_questions

QUESTIONS = make_questions("val", 144)
CHOICES = sorted({sample.answers[0] for sample in QUESTIONS})
TRUTH = np.array([sample.answers[0] for sample in QUESTIONS])


@pytest.fixture(scope="module")
def model(asked_run) -> Omni:
    return load(asked_run)


def about(sample: Sample) -> tuple[Any, ...]:
    """What there is of picture and recording."""
    return tuple(item(sample, s) for s in ("image", "audio") if getattr(sample, s) is not None)


def asked(shown: list[Sample]) -> list[Any]:
    """Every question, with what some samples show."""
    return [(*about(b), item(a, "text")) for a, b in zip(QUESTIONS, shown, strict=True)]


def right(answers: list[str]) -> np.ndarray:
    """The share of right answers about pictures, recordings, and both."""
    return (np.array(answers) == TRUTH).reshape(-1, 3).mean(0)


def test_the_answer_is_in_what_is_shown(model: Omni) -> None:
    own, other = asked(QUESTIONS), asked(QUESTIONS[6:] + QUESTIONS[:6])
    blind: list[Item] = [sample.text or "" for sample in QUESTIONS]
    for choices in (None, CHOICES):
        assert (right(model.answer(own, choices)) > 0.8).all()
        for items in (blind, other):  # colour or shape is known from the question: 1/6, 1/4
            assert (right(model.answer(items, choices)) < 0.45).all()
        assert (right(model.untrained().answer(own, choices)) < 0.3).all()
    assert model.generate(own, to="text") == model.answer(own)


def test_the_question_says_what_is_asked_for(model: Omni) -> None:
    shown = [about(sample) for sample in QUESTIONS]
    for place, kind in enumerate(("colour", "shape")):
        answers = model.answer([(*media, f"what {kind} is it") for media in shown], CHOICES)
        wanted = np.array([sample.group.split()[place] for sample in QUESTIONS])
        assert (np.array(answers) == wanted).mean() > 0.8


def test_what_is_chosen_is_the_likeliest_whatever_is_beside_it(
    model: Omni, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, few = model.network, asked(QUESTIONS)[2:6]
    texts = [*CHOICES, "red circle", "a", "what"]
    ids = torch.nn.utils.rnn.pad_sequence([*map(model._ids, texts)], batch_first=True)
    expected = []
    for one in few:
        (memory,) = model._each(model._samples(one), lambda fused, _: [fused.tokens])
        language = torch.full((len(ids),), model.tokenizer.language("en"))
        first, each = torch.zeros(len(ids), dtype=torch.long), torch.arange(len(ids))
        likely = sampling.log_likelihood(network, memory[first], each, ids, language)
        alone = sampling.log_likelihood(network, memory, first, ids, language)
        torch.testing.assert_close(likely, alone)
        expected.append(texts[int(likely.argmax())])
    assert model.answer(few, texts) == expected
    monkeypatch.setattr(sampling, "SHORTLIST", 2)
    assert model.answer(few, texts) == expected
    monkeypatch.setattr(sampling, "SHORTLIST", 1)  # by the first token alone
    starts = {int(row[0]): text for text, row in zip(texts, ids, strict=True)}
    assert len(starts) > 1 and {*model.answer(few, texts)} <= {*texts}
    assert model.answer(few[0], ["red"]) == "red"


def test_what_cannot_be_answered_is_refused(model: Omni) -> None:
    with pytest.raises(ValueError, match="must hold a text, the question"):
        model.answer(about(QUESTIONS[0]))
    with pytest.raises(ValueError, match="choices must hold at least one text, got none"):
        model.answer("what shape is it", [])
    with pytest.raises(ValueError, match="language must be one of"):
        model.answer("what shape is it", CHOICES, language="xx")
