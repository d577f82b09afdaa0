"""Encoders that begin with weights of others: timm's for pictures, transformers' for texts."""

from dataclasses import replace

from omni.config import Config, ModelConfig
from omni.modality.image import ImageEncoder
from omni.modality.text import Tokenizer
from omni.modality.tower import TextTower, find_settings
from omni.network import Network


def resolve(config: Config) -> Config:
    """The same with the settings of a pretrained text encoder in it: all that a checkpoint needs.

    Raises `ValueError` where there is no such encoder.
    """
    text = config.model.text
    if not text.pretrained:
        return config
    text = replace(text, encoder=find_settings(text.pretrained))
    return replace(config, model=replace(config.model, text=text))


def start(network: Network, config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Gives a fresh network the weights that are named; `ValueError` where they do not fit."""
    pictures, texts = network.encoders["image"], network.encoders["text"]
    if config.image.pretrained:
        assert isinstance(pictures, ImageEncoder)
        pictures.start_from(config.image.encoder, config.image.pretrained)
    if config.text.pretrained:
        assert isinstance(texts, TextTower)
        texts.start_from(config.text.pretrained, tokenizer)
