"""Encoders of texts that transformers builds, tried before training for what they must do."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig

SHORT, LONG = 5, 8
"""tokens of two texts"""
SEEN = 1e-4
"""of what an encoder makes of a text, the most by which its padding may change it: rounding"""


def make_settings(kind: str, **sizes: int) -> PreTrainedConfig:
    """Those of a type of model. Raises `ValueError` for a type or sizes that there are not."""
    try:
        return AutoConfig.for_model(kind, **sizes)
    except Exception as error:  # of many kinds, as its models are many
        raise refusal(kind, one_line(error)) from error


def build_encoder(settings: PreTrainedConfig) -> Any:
    """An encoder of texts by its settings. Raises `ValueError` where there is none."""
    try:
        return encoder_of(AutoModel.from_config(settings, attn_implementation="eager"))
    except Exception as error:  # of many kinds, as its models are many
        raise refusal(settings.model_type, one_line(error)) from error


def encoder_of(model: Any) -> Any:
    """The model, or the half of it that reads, as T5 has."""
    return model.get_encoder() if model.config.is_encoder_decoder else model


def probe(encoder: Any, kind: str, longest: int = LONG) -> int:
    """Width of what an encoder makes of embeddings, of a short text beside one of `longest` tokens.

    Raises `ValueError` for one that takes none, or not so many, that does not make a token of each,
    or lets the padding of a text change it.
    """
    ids = torch.ones(2, max(LONG, longest), dtype=torch.long)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, SHORT:] = False
    encoder.eval()
    try:
        with torch.no_grad():
            x = encoder.get_input_embeddings()(ids)
            padded = encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state
            x, mask = x[1:, :SHORT], mask[1:, :SHORT]
            alone = encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state
    except Exception as error:  # of many kinds, as above
        raise refusal(kind, f"texts of {ids.shape[1]} tokens: {one_line(error)}") from error
    encoder.train()
    if padded.shape[:2] != ids.shape:
        raise refusal(kind, f"it makes {padded.shape[1]} tokens of {ids.shape[1]}")
    if (worst := float((padded[1, :SHORT] - alone[0]).abs().max())) > SEEN:
        raise refusal(kind, f"the padding of a text changes it, by {worst:.1g}")
    return padded.shape[2]


def refusal(kind: str, reason: str) -> ValueError:
    """What is said of an encoder that cannot be used."""
    return ValueError(
        f"model.text.encoder must be an encoder of transformers that reads embeddings and heeds a "
        f"mask, got {kind!r}: {reason}"
    )


def one_line(error: Exception) -> str:
    """The beginning of what an error says: some list all models that there are."""
    first = (str(error) or type(error).__name__).strip().splitlines()[0]
    return first if len(first) <= 200 else f"{first[:200]} ..."
