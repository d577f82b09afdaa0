"""The three verbs on plain objects."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import omni
from omni import generate as sampling
from omni.batch import SENSES
from omni.interface import GAIN, LIKELIHOOD, Omni
from omni.items import Audio
from omni.modality.text import PAD
from omni.objective.matching import CLASSES
from omni.pipeline.collate import collate


def recall(queries: torch.Tensor, gallery: torch.Tensor) -> float:
    best = (queries @ gallery.T).argmax(1)
    return (best == torch.arange(len(best))).float().mean().item()


def test_senses_find_each_other_and_an_untrained_network_does_not(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    control = tiny_model.untrained()
    for model, learned in ((tiny_model, True), (control, False)):
        image, sound, text = (model.embed(list(items)) for items in triplets)
        for a, b in ((image, text), (text, image), (sound, text), (text, sound), (sound, image)):
            assert (recall(a, b) > 0.5) == learned, (recall(a, b), learned)


def test_writing_learns_and_the_control_does_not(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, sounds, texts = triplets
    for model, learned in ((tiny_model, True), (tiny_model.untrained(), False)):
        for source in (images, sounds):
            right = [a == b for a, b in zip(model.generate(source, to="text"), texts, strict=True)]
            assert (np.mean(right) > 0.5) == learned


def test_vectors_have_length_one_and_order_is_kept(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, sounds, texts = triplets
    mixed = [texts[0], images[0], (sounds[0], images[0]), texts[1]]
    together = tiny_model.embed(mixed)
    alone = torch.cat([tiny_model.embed(item) for item in mixed])
    # Worst seen: 3e-7.
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(4))


def test_retrieval_ranks_a_gallery(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, _, texts = triplets
    answers = tiny_model.retrieve(texts[0], images, k=3)
    assert len(answers) == 3
    assert [score for _, score in answers] == sorted((s for _, s in answers), reverse=True)
    again = tiny_model.retrieve(texts[0], tiny_model.embed(images), k=3)
    assert [index for index, _ in again] == [index for index, _ in answers]
    # Two passes over the same items may differ in the last bit.
    assert [s for _, s in again] == pytest.approx([s for _, s in answers], abs=1e-5)


def test_the_matching_head_tells_what_belongs_together(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, sounds, texts = triplets
    count = len(texts)
    right = [*zip(images, sounds, texts, strict=True), *zip(images, texts, strict=True)]
    wrong = [*zip(images, sounds, [*texts[1:], texts[0]], strict=True)]
    wrong += zip(images, [*texts[1:], texts[0]], strict=True)
    together = torch.tensor([CLASSES.index(SENSES), CLASSES.index(("image", "text"))])
    together = together.repeat_interleave(count)[:, None]
    for model, learned in ((tiny_model, True), (tiny_model.untrained(), False)):
        likely, unlikely = (model.match(x).gather(1, together) for x in (right, wrong))
        assert ((likely > unlikely).float().mean() > 0.85) == learned


def test_the_decoder_alone_finds_the_text_of_a_picture_and_the_picture_of_a_text(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    """Re-ranked without the cosines, which would give the answer."""
    images, sounds, texts = triplets
    every = torch.arange(len(texts)).repeat(len(texts), 1)
    blind = torch.zeros(every.shape)
    for model, learned in ((tiny_model, True), (tiny_model.untrained(), False)):
        for queries, gallery in ((images, texts), (texts, images), (sounds, texts)):
            scores = model.rerank(list(queries), list(gallery), every, blind)
            found = (scores.argmax(1) == every[0]).float().mean()
            assert (found > 0.5) == learned, found
    # It is a logarithm, of the whole text, its end included.
    one = tiny_model.rerank(images[:1], texts[:1], every[:1, :1], blind[:1, :1])
    longer = tiny_model.rerank(images[:1], [f"{texts[0]} circle"], every[:1, :1], blind[:1, :1])
    assert longer < one < 0


def test_with_a_bank_only_what_is_likelier_than_usual_counts(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, sounds, texts = ([*some] for some in triplets)
    every = torch.arange(len(texts)).repeat(len(texts), 1)
    zero, scale = torch.zeros(every.shape), tiny_model.network.scale.item()
    others = [*sounds[:2], *images[:2]]
    for queries, gallery, bank in ((images, texts, others), (texts, images, texts[:3])):
        log_p = tiny_model.rerank(queries, gallery, every, zero) / LIKELIHOOD * scale
        usual = torch.cat([tiny_model.rerank([b], gallery, every[:1], zero[:1]) for b in bank])
        usual = (usual / LIKELIHOOD * scale).logsumexp(0) - math.log(len(bank))
        gain = tiny_model.rerank(queries, gallery, every, zero, bank=bank)
        torch.testing.assert_close(gain * scale, GAIN * (log_p - usual), atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="what asks for it one must hold a text"):
        tiny_model.rerank(images, texts, every, zero, bank=texts[:1])


def test_a_gallery_is_looked_at_again(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, _, texts = triplets
    plain = tiny_model.retrieve(texts[0], images, k=len(images))
    again = tiny_model.retrieve(texts[0], images, k=3, rerank=5)
    assert {i for i, _ in again} <= {i for i, _ in plain[:5]}
    assert [s for _, s in again] == sorted((s for _, s in again), reverse=True)
    cosines = dict(plain)
    assert all(score < cosines[i] for i, score in again)  # by a logarithm of what is below 1
    with pytest.raises(ValueError, match="must be items, got vectors"):
        tiny_model.retrieve(texts[0], tiny_model.embed(images), rerank=5)
    with pytest.raises(ValueError, match="must hold a text to be re-ranked; both do"):
        tiny_model.retrieve(texts[0], [*images, texts[1]], rerank=100)
    with pytest.raises(ValueError, match="must hold a text to be re-ranked; neither does"):
        tiny_model.retrieve(triplets[1][0], images, rerank=3)


def test_every_direction_is_generated_and_the_seed_decides(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, sounds, texts = triplets
    picture = tiny_model.generate(texts[0], to="image", steps=4)
    assert picture.size == (32, 32)
    again = tiny_model.generate([texts[0], sounds[1]], to="image", steps=4)
    other = tiny_model.generate(texts[0], to="image", steps=4, seed=1)
    difference = np.abs(np.asarray(picture, int) - np.asarray(again[0], int)).max()
    assert difference <= 2
    assert np.abs(np.asarray(picture, int) - np.asarray(other, int)).max() > 2
    for source in (texts[0], images[0], (texts[0], images[0])):
        speech = tiny_model.generate(source, to="audio", steps=4)
        assert speech.sample_rate == 16_000
        assert 0.1 < len(speech.samples) / 16_000 < 0.7
        assert np.abs(speech.samples).max() <= 1
        torch.rand(1)  # whatever else drew random numbers since
        spoken = tiny_model.generate(source, to="audio", steps=4)
        np.testing.assert_array_equal(speech.samples, spoken.samples)


def test_of_several_candidates_the_nearest_is_kept(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    texts = triplets[2]
    wanted = tiny_model.embed(list(texts))
    for sense in ("image", "audio"):
        one, four = (
            (tiny_model.embed(tiny_model.generate(texts, sense, candidates=n)) * wanted).sum(1)
            for n in (1, 4)
        )
        assert four.mean() > one.mean()  # the first of the four is the one
    with pytest.raises(ValueError, match="candidates must be at least 1, got 0"):
        tiny_model.generate(texts, "image", candidates=0)


def test_a_beam_knows_the_likelihood_of_what_it_found(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    images, network = triplets[0], tiny_model.network
    batch = collate(tiny_model._samples(images), tiny_model.tokenizer, network.config)
    with torch.no_grad():
        memory = network.fuse(network.encode("image", batch.parts["image"])).tokens
        language = torch.full((len(images),), tiny_model.tokenizer.language("en"))
        greedy, alone = sampling._beams(network, memory, language, 1)
        ids, log_p = sampling._beams(network, memory, language, 3)
        assert (log_p[:, 0] >= alone[:, 0] - 1e-4).all()
        assert (log_p.diff(dim=1) <= 0).all()
        decoder = network.text_decoder
        for found, said in ((greedy[:, 0], alone[:, 0]), (ids[:, 2], log_p[:, 2])):
            inputs = torch.cat([language[:, None], found[:, :-1]], 1)
            logits, _ = decoder(inputs, decoder.keys(memory), memory.mask)
            logits[..., PAD] = -torch.inf
            every = logits.log_softmax(-1).gather(2, found[..., None])[..., 0]
            torch.testing.assert_close((every * (found != PAD)).nan_to_num().sum(1), said)


def test_what_is_heard_is_drawn_from_its_transcript_unless_asked_directly(
    tiny_model: Omni, triplets: tuple[list[Image.Image], list[Audio], list[str]]
) -> None:
    sound = triplets[1][0]
    words = tiny_model.generate(sound, to="text")
    by_words, straight = (
        np.asarray(tiny_model.generate(sound, to="image", direct=direct), int)
        for direct in (False, True)
    )
    from_text = np.asarray(tiny_model.generate(words, to="image"), int)
    np.testing.assert_array_equal(by_words, from_text)
    assert np.abs(straight - from_text).max() > 2


@pytest.mark.parametrize(
    ("item", "message"),
    [(3, "got int"), (("a", "b"), "two of text"), ((), "at least one sense"), ([], "empty list")],
)
def test_what_is_no_item_is_refused(tiny_model: Omni, item: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_model.embed(item)  # pyright: ignore[reportArgumentType]


def test_an_unknown_target_or_language_is_refused(tiny_model: Omni) -> None:
    with pytest.raises(ValueError, match="to must be one of"):
        tiny_model.generate("red circle", to="video")
    with pytest.raises(ValueError, match="language must be one of"):
        tiny_model.generate("red circle", to="text", language="xx")


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runs/nothing"):
        omni.load("runs/nothing")
    with pytest.raises(ValueError, match="holds no model"):
        omni.load(tmp_path)


@pytest.mark.parametrize(("k", "rerank"), [(0, 0), (-1, 0), (1, -1)])
def test_counts_that_are_none_are_refused(tiny_model: Omni, k: int, rerank: int) -> None:
    with pytest.raises(ValueError, match="k must be at least 1 and rerank at least 0"):
        tiny_model.retrieve("red circle", ["red circle"], k=k, rerank=rerank)
