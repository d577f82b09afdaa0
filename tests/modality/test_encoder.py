"""Which types of model of transformers can be the encoder of texts; others are refused by name."""

import pytest
import torch

from omni.config import TextConfig
from omni.modality.text import END, PAD, TextEncoder


def build(kind: str, max_tokens: int = 20) -> TextEncoder:
    return TextEncoder(TextConfig(encoder=kind, ngrams=64, max_tokens=max_tokens), 50, 32, 2).eval()


@pytest.mark.parametrize(
    "kind", ["albert", "bert", "deberta-v2", "electra", "modernbert", "roberta", "t5"]
)
def test_a_type_of_model_reads_texts(kind: str) -> None:
    encoder = build(kind)
    ids = torch.tensor([[3, 4, END, PAD], [3, 4, 5, END]])
    with torch.no_grad():
        padded, alone = encoder(ids).x, encoder(ids[:1, :3]).x
    assert padded.shape == (2, 4, 32)
    torch.testing.assert_close(padded[0, :3], alone[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nonsense", "Unrecognized model identifier"),
        ("clip_text_model", "specify input_ids"),
        ("funnel", "block_sizes"),
        ("mobilebert", "the padding of a text changes it"),
    ],
)
def test_another_type_is_refused_by_name(kind: str, reason: str) -> None:
    with pytest.raises(
        ValueError, match=f"model.text.encoder must be .*{kind!r}.*{reason}"
    ) as told:
        build(kind)
    assert len(str(told.value)) < 400


def test_texts_longer_than_a_type_has_positions_are_refused() -> None:
    build("bert", max_tokens=512)
    with pytest.raises(ValueError, match=r"'bert': texts of 600 tokens: "):
        build("bert", max_tokens=600)
