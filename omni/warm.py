"""Encoders that begin with weights of others: timm's for pictures, transformers' for the rest."""

from dataclasses import replace

from omni.config import Config, ModelConfig
from omni.modality.image import ImageEncoder
from omni.modality.text import Tokenizer
from omni.modality.tower import AudioTower, TextTower, find_settings
from omni.network import Network


def resolve(config: Config) -> Config:
    """The same with the settings of encoders of transformers in it: all that a checkpoint needs.

    Raises `ValueError` where there is no such encoder.
    """
    text, audio = config.model.text, config.model.audio
    if text.pretrained:
        text = replace(text, encoder=find_settings(text.pretrained, "model.text.pretrained"))
    if audio.pretrained:
        audio = replace(audio, encoder=find_settings(audio.pretrained, "model.audio.pretrained"))
    return replace(config, model=replace(config.model, text=text, audio=audio))


def start(network: Network, config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Gives a fresh network the weights that are named; `ValueError` where they do not fit."""
    pictures, texts, sounds = (network.encoders[sense] for sense in ("image", "text", "audio"))
    if config.image.pretrained:
        assert isinstance(pictures, ImageEncoder)
        pictures.start_from(config.image.encoder, config.image.pretrained)
    if config.text.pretrained:
        assert isinstance(texts, TextTower)
        texts.start_from(config.text.pretrained, tokenizer)
    if config.audio.pretrained:
        assert isinstance(sounds, AudioTower)
        sounds.start_from(config.audio.pretrained)
