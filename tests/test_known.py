"""What is like known pairs belongs together; of shuffled pairs it is not so."""

import pytest
import torch
from PIL import Image

from omni.interface import Omni
from omni.items import Audio
from omni.known import TOGETHER, Known

Triplets = tuple[list[Image.Image], list[Audio], list[str]]


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True)


def found(scores: torch.Tensor) -> float:
    return (scores.argmax(1) == torch.arange(len(scores))).float().mean().item()


def test_things_are_found_whose_own_vectors_have_nothing_in_common() -> None:
    draws = torch.Generator().manual_seed(0)
    things = TOGETHER + 44
    first, second = (unit(torch.randn(things, 64, generator=draws)) for _ in range(2))
    queries, items = (
        unit(v + 0.05 * torch.randn(v.shape, generator=draws)) for v in (first, second)
    )
    assert found(queries @ items.T) < 0.05
    assert found(Known(first, second, 30.0).compare(queries, items)) == 1
    shuffled = Known(first, second.roll(1, 0), 30.0)
    assert found(shuffled.compare(queries, items)) == 0
    some = Known(first, second, 30.0).compare(queries[5:7], items)
    torch.testing.assert_close(some, Known(first, second, 30.0).compare(queries, items)[5:7])
    assert Known(first, second, 1e4).compare(queries, -items).isfinite().all()


def test_a_model_retrieves_by_what_it_knows(tiny_model: Omni, triplets: Triplets) -> None:
    images, _, texts = triplets
    plain = dict(tiny_model.retrieve(texts[0], images, k=len(images)))
    known = tiny_model.know([*zip(texts, images, strict=True)])
    answers = tiny_model.retrieve(texts[0], images, k=len(images), known=known)
    assert answers[0][0] == 0
    own = known.compare(tiny_model.embed(texts[0]), tiny_model.embed(images))[0]
    for place, score in answers:
        assert score == pytest.approx(plain[place] + own[place].item(), abs=1e-5)
    wrong = tiny_model.know([*zip(texts, images[1:] + images[:1], strict=True)])
    (best, _), *_ = tiny_model.retrieve(texts[0], images, known=wrong)
    assert best != 0
