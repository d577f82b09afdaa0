"""A step is the same step however its samples are dealt out to micro-batches."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from omni.batch import SENSES, Batch, Part
from omni.modality.text import PAD, Tokenizer
from omni.network import Network
from omni.nn.lengths import GROUPS
from omni.pipeline.loader import Loader
from omni.presets import debug
from omni.training.contrast import Kept
from omni.training.losses import Losses
from omni.training.parallel import Parallel
from omni.training.selection import Selection
from omni.training.step import Step

# Matching and batch norm see one micro-batch at a time, and therefore another one.
CONFIG = replace(debug(), loss=replace(debug().loss, matching=0.0))
MODEL = replace(CONFIG.model, image=replace(CONFIG.model.image, encoder="test_convnext"))
TOLERANCE = 1e-5  # seen: 5e-7 of a loss, 2e-6 of a gradient
FIELDS = ("data", "rows", "lengths")
SEED = 3  # draws sound and picture together, and augments


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Loader(CONFIG.data).learn_tokenizer(MODEL.text.vocab_size)


@pytest.fixture(scope="module")
def batch(tokenizer: Tokenizer) -> Batch:
    """The samples of a step, in an order that gives each of 8 parts of every kind."""
    made = Loader(CONFIG.data).batch(0, tokenizer, MODEL)
    return take(made, (torch.arange(made.size) % 8).argsort(stable=True))


@pytest.fixture(scope="module")
def past(tokenizer: Tokenizer, batch: Batch) -> Kept:
    step, _ = step_of([batch], tokenizer)
    return step.remember()


def take(batch: Batch, samples: Tensor) -> Batch:
    """Some samples of a batch, in their order; a sense that none of them has is no part of it."""
    assert batch.key is not None
    parts = {}
    for sense, part in batch.parts.items():
        rows, items = torch.where(samples[:, None] == part.rows)
        if len(items):
            parts[sense] = Part(part.data[items], rows, part.lengths[items])
    return Batch(len(samples), batch.group[samples], parts, batch.key[samples])


def spans(batch: Batch, count: int) -> list[tuple[int, int]]:
    """Where each of so many parts begins and ends; they are not all equally long."""
    return [*pairwise(torch.linspace(0, batch.size, count + 1).long().tolist())]


def deal(batch: Batch, count: int) -> list[Batch]:
    return [take(batch, torch.arange(*span)) for span in spans(batch, count)]


def without(batch: Batch, sense: str, first: int, stop: int) -> Batch:
    """The batch, where the samples from `first` to `stop - 1` lack a sense."""
    parts = dict(batch.parts)
    for name in (sense, "caption") if sense == "text" else (sense,):
        part = parts[name]
        keep = (part.rows < first) | (part.rows >= stop)
        parts[name] = Part(part.data[keep], part.rows[keep], part.lengths[keep])
    return replace(batch, parts=parts)


def step_of(
    batches: list[Batch], tokenizer: Tokenizer, past: Kept | None = None
) -> tuple[Step, dict[str, Tensor]]:
    """A step of the untrained model, backward pass and all; and its losses."""
    torch.manual_seed(0)
    losses = Losses(Network(MODEL, tokenizer).train(), CONFIG.loss)
    train = replace(CONFIG.train, accumulate=len(batches))
    parallel = Parallel(train, torch.device("cpu"))
    step = Step(losses, batches, parallel, past or {}, nullcontext(), SEED, progress=0.0)
    return step, step.backward()


def difference(one: Any, other: Any) -> tuple[float, float]:
    """The largest of any loss, and of any gradient relative to its norm."""
    (a, losses), (b, others) = one, other
    assert losses.keys() == others.keys()
    of_losses = max(abs(float(losses[n] - others[n])) for n in losses)
    of_gradients = [0.0]
    pairs = zip(a.module.named_parameters(), b.module.parameters(), strict=True)
    for name, p, q in ((name, p, q) for (name, p), q in pairs):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None and q.grad is not None:
            scale = float(p.grad.norm()) or 1.0
            of_gradients.append(float((p.grad - q.grad).norm()) / scale)
    return of_losses, max(of_gradients)


@pytest.mark.parametrize("remembers", [False, True])
def test_any_number_of_micro_batches_makes_the_same_step(
    remembers: bool, batch: Batch, tokenizer: Tokenizer, past: Kept
) -> None:
    memory = past if remembers else {}
    whole = step_of([batch], tokenizer, memory)
    pairs = {"audio-text", "image-text", "image-audio"}
    expected = {f"contrastive/{pair}" for pair in pairs} | {"joint/audio+image-text"}
    expected |= {f"next_token/{source}" for source in ("image", "audio", "audio+image")}
    expected |= {"image_flow", "audio_flow", "audio_flow/length"}
    expected |= {"within/image-image", "within/audio-audio"} if remembers else set()
    assert whole[1].keys() == expected
    assert all(loss > 0 for loss in whole[1].values())
    for count in (2, 4, 8):
        parts = step_of(deal(batch, count), tokenizer, memory)
        assert max(difference(whole, parts)) < TOLERANCE, count
    # Control: what the past adds is far more than the tolerance.
    if remembers:
        plain = step_of([batch], tokenizer)[1]
        for name in plain:
            if name.startswith("contrastive"):
                assert abs(plain[name] - whole[1][name]) > 100 * TOLERANCE


def test_matching_finds_what_is_foreign_within_a_micro_batch(
    batch: Batch, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "CONFIG", debug())
    whole, parts = (step_of(deal(batch, count), tokenizer)[1] for count in (1, 4))
    assert {n for n in whole if abs(whole[n] - parts[n]) > TOLERANCE} == {"matching"}
    # Where nothing is foreign it does not matter either.
    alike = replace(batch, group=torch.zeros_like(batch.group))
    whole, parts = step_of([alike], tokenizer), step_of(deal(alike, 4), tokenizer)
    assert whole[1]["matching"] > 0
    assert max(difference(whole, parts)) < TOLERANCE


@pytest.mark.parametrize("field", ["masked", "dropping"])
def test_what_is_hidden_or_dropped_is_of_the_sample(
    field: str, batch: Batch, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = replace(CONFIG.loss, **{field: 1.0})
    monkeypatch.setitem(globals(), "CONFIG", replace(CONFIG, loss=loss))
    whole = step_of([batch], tokenizer)
    for count in (2, 8):
        assert max(difference(whole, step_of(deal(batch, count), tokenizer))) < TOLERANCE, count
    if field == "masked":
        assert {f"masked/{sense}" for sense in SENSES} <= whole[1].keys()
        return
    selection = whole[0].selection
    assert {len(source) for dealt in selection.flows.values() for source in dealt} == {1, 2}
    for sense, dealt in selection.flows.items():
        made = torch.cat([*dealt.values()])
        assert len(made.unique()) == len(made)  # no item twice
        for source, rows in dealt.items():
            assert sense not in source and selection.table.has(sense, *source)[rows].all()


def test_hidden_words_are_not_read_and_nobody_elses(
    batch: Batch, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1 each token is written from the language, its place and what is seen or heard alone."""
    read = {}
    for share in (0.0, 0.5, 1.0):
        loss = replace(CONFIG.loss, word_dropout=share)
        monkeypatch.setitem(globals(), "CONFIG", replace(CONFIG, loss=loss))
        whole = step_of([batch], tokenizer)
        assert max(difference(whole, step_of(deal(batch, 4), tokenizer))) < TOLERANCE, share
        grad = whole[0].module.network.text_decoder.embedding.weight.grad
        read[share] = {*grad.any(1).nonzero()[:, 0].tolist()} - {PAD}
    assert read[1.0] == {*tokenizer.languages.values()} & read[0.0] != set()
    assert read[1.0] < read[0.5] <= read[0.0]


def test_a_micro_batch_may_lack_a_sense(batch: Batch, tokenizer: Tokenizer, past: Kept) -> None:
    for sense, span in zip(SENSES, spans(batch, 8), strict=False):
        batch = without(batch, sense, *span)
    whole = step_of([batch], tokenizer, past)
    parts = deal(batch, 8)
    lacking = [{*SENSES} - part.parts.keys() for part in parts]
    assert [sense for missing in lacking[:3] for sense in missing] == list(SENSES)
    assert max(difference(whole, step_of(parts, tokenizer, past))) < TOLERANCE
    assert max(difference(whole, step_of(deal(batch, 4), tokenizer, past))) < TOLERANCE


@pytest.mark.parametrize("sense", SENSES)
def test_all_of_a_step_may_lack_a_sense(sense: str, batch: Batch, tokenizer: Tokenizer) -> None:
    gone = (sense, "caption") if sense == "text" else (sense,)
    parts = [
        replace(part, parts={s: p for s, p in part.parts.items() if s not in gone})
        for part in deal(batch, 2)
    ]
    step, losses = step_of(parts, tokenizer)
    assert losses and not [n for n in losses if n.startswith((f"{sense}_flow", "joint"))]
    assert not [n for n in losses if "/" in n and sense in n.split("/")[1]]
    used = [n for n, p in step.module.named_parameters() if p.grad is not None and p.grad.any()]
    assert not [n for n in used if n.startswith((f"network.encoders.{sense}",))]


def test_all_that_is_to_be_written_of_a_sample_is_written(
    batch: Batch, tokenizer: Tokenizer
) -> None:
    """Of two captions each counts by its tokens, as if they were of two samples."""
    own = batch.parts["caption"]
    turned = Part(own.data.roll(1, 0), own.rows, own.lengths.roll(1, 0))
    both = Part(*(torch.cat([getattr(p, f) for p in (own, turned)]) for f in FIELDS))
    losses, tokens, heard = [], [], batch.parts["audio"].rows
    for captions in (own, turned, both):
        changed = replace(batch, parts=batch.parts | {"caption": captions})
        losses.append(step_of([changed], tokenizer)[1]["next_token/audio"])
        tokens.append(changed.table().written[heard, 0].sum())
    assert tokens[2] == tokens[0] + tokens[1]
    mean = (losses[0] * tokens[0] + losses[1] * tokens[1]) / tokens[2]
    torch.testing.assert_close(losses[2], mean, atol=1e-5, rtol=0)
    assert abs(losses[0] - losses[1]) > 1e-3


def test_the_order_of_micro_batches_does_not_matter(
    batch: Batch, tokenizer: Tokenizer, past: Kept
) -> None:
    parts = deal(batch, 8)
    other = [parts[i] for i in (5, 2, 7, 0, 3, 6, 1, 4)]
    straight, mixed = step_of(parts, tokenizer, past), step_of(other, tokenizer, past)
    assert max(difference(straight, mixed)) < TOLERANCE
    selections = straight[0].selection, mixed[0].selection
    assert selected(selections[0]) == selected(selections[1])
    # Control: with other draws, other samples are taken.
    redrawn = Selection(
        replace(selections[0].table, key=selections[0].table.key + 1),
        CONFIG.loss,
        torch.Generator().manual_seed(SEED),
        0.0,
    )
    assert selected(redrawn) != {
        name: {key + 1 for key in keys} for name, keys in selected(selections[0]).items()
    }


def selected(selection: Selection) -> dict[str, set[int]]:
    """The keys of the samples that each objective takes."""
    found = {"+".join(source): rows for source, rows in selection.rows.items()}
    for sense, dealt in selection.flows.items():
        found |= {f"{sense} from {'+'.join(source)}": rows for source, rows in dealt.items()}
    return {name: {*selection.table.key[rows].tolist()} for name, rows in found.items()}


def test_repeated_captions_are_not_negatives_of_each_other(
    batch: Batch, tokenizer: Tokenizer
) -> None:
    """Pictures of one caption in two micro-batches: both captions are right answers to each."""
    name = "contrastive/image-text"
    assert len({*batch.group.tolist()}) < batch.size - 8  # there are such
    repeated = step_of(deal(batch, 4), tokenizer)[1]
    alone = replace(batch, group=torch.arange(batch.size))
    apart = step_of(deal(alone, 4), tokenizer)
    images, texts = (apart[0].contrast.vectors[sense,].detach() for sense in ("image", "text"))
    rows = [apart[0].selection.rows[sense,] for sense in ("image", "text")]
    loss = 0.0
    for queries, asked, keys, found in ((images, 0, texts, 1), (texts, 1, images, 0)):
        logs = (apart[0].scale * queries @ keys.T).log_softmax(1)
        right = batch.group[rows[asked]][:, None] == batch.group[rows[found]]
        each = [-log[those].mean() for log, those in zip(logs, right, strict=True) if those.any()]
        loss += float(torch.stack(each).mean()) / 2
    assert float(repeated[name]) == pytest.approx(loss, abs=TOLERANCE)
    assert abs(float(apart[1][name]) - loss) > 100 * TOLERANCE  # control: as negatives


def test_the_same_vectors_are_remembered_whoever_made_them(
    batch: Batch, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not all of a step are kept, as every few steps."""
    monkeypatch.setitem(globals(), "CONFIG", replace(CONFIG, loss=replace(CONFIG.loss, memory=20)))
    parts = deal(batch, 8)
    kept = step_of(parts, tokenizer)[0].remember()
    other = step_of(parts[::-1], tokenizer)[0].remember()
    for sense in SENSES:
        vectors, groups = kept[sense]
        assert len(vectors) == 20
        assert torch.equal(groups, other[sense][1])
        assert torch.allclose(vectors, other[sense][0], atol=TOLERANCE)


@pytest.mark.parametrize("recompute", [False, True])
def test_recomputing_runs_each_block_twice(recompute: bool, tokenizer: Tokenizer) -> None:
    network = Network(MODEL, tokenizer).train()
    train = replace(CONFIG.train, recompute=recompute)
    losses = Parallel(train, torch.device("cpu")).spread(Losses(network, CONFIG.loss))
    calls = []
    network.shared.blocks[0].attention.register_forward_hook(lambda *_: calls.append(None))
    one = Loader(CONFIG.data).batch(0, tokenizer, MODEL)
    parallel = Parallel(train, torch.device("cpu"))
    Step(losses, [one], parallel, {}, nullcontext(), SEED, progress=0.0).backward()
    sources = 4  # three senses, and two of them together
    assert len(calls) == sources * GROUPS * (1 + recompute)
