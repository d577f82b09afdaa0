"""Long recordings and long texts: cut where it is quiet, or between sentences; and put together."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from omni.config import ModelConfig
from omni.items import Audio, Item
from omni.modality.text import Tokenizer
from omni.silence import find_sound

FRAME = 0.02
"""seconds over which loudness is taken"""
EARLIEST = 0.5
"""share of the longest piece that a piece of sound has at least"""
NEXT = 1 << 40
"""from the seed of a piece to that of the next"""
SENTENCES = re.compile(r"(?<=[.!?…。！？;])\s*(?=\S)")


def split(item: Item, to: str, model: ModelConfig, tokenizer: Tokenizer) -> list[Item]:
    """A recording to be written down or a text to be spoken, in pieces that the model can take."""
    if to == "text" and isinstance(item, Audio) and not is_silent(item):
        sound = find_sound(item.samples, item.sample_rate)
        assert sound is not None
        trimmed = Audio(item.samples[sound], item.sample_rate)
        return [*split_sound(trimmed, model.audio.max_seconds)]
    if to == "audio" and isinstance(item, str):
        return [*split_text(item, tokenizer, model.text.max_tokens)]
    return [item]


def is_silent(item: Item) -> bool:
    """Return whether an item is a recording in which there is nothing to hear."""
    return isinstance(item, Audio) and find_sound(item.samples, item.sample_rate) is None


def join(pieces: Sequence[Any]) -> Any:
    """What was made of the pieces of one item, texts or sounds, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], Audio):
        return Audio(np.concatenate([p.samples for p in pieces]), pieces[0].sample_rate)
    return " ".join(filter(None, pieces))


def seeds(pieces: Sequence[Sequence[Item]], seed: int) -> list[int]:
    """For the pieces of all items in a row; the first of an item has what it would have alone."""
    return [seed + i + NEXT * k for i, some in enumerate(pieces) for k in range(len(some))]


def split_sound(sound: Audio, seconds: float) -> list[Audio]:
    """Pieces of at most so many seconds, each ending where its second half is quietest."""
    rate, samples = sound.sample_rate, sound.samples
    frame, longest = max(1, int(FRAME * rate)), int(seconds * rate)
    pieces = []
    while len(samples) > longest:
        first = int(EARLIEST * longest)
        window = samples[first:longest]
        frames = window[: len(window) // frame * frame].reshape(-1, frame)
        end = longest
        if len(frames):
            end = first + int(np.square(frames).mean(1).argmin()) * frame + frame // 2
        pieces.append(Audio(samples[:end], rate))
        samples = samples[end:]
    return [*pieces, Audio(samples, rate)]


def split_text(text: str, tokenizer: Tokenizer, max_tokens: int) -> list[str]:
    """Pieces of at most so many tokens, the end included: whole sentences, or else whole words."""

    def fits(piece: str) -> bool:
        return len(tokenizer.reader.encode(piece, len(piece.encode()) + 2)) <= max_tokens

    pieces: list[str] = []
    for sentence in [text] if fits(text) else SENTENCES.split(text):
        for unit in [sentence] if fits(sentence) else sentence.split():
            longer = f"{pieces[-1]} {unit}" if pieces else unit
            if pieces and fits(longer):
                pieces[-1] = longer
            else:
                pieces.append(unit)
    return pieces
