"""What each field of a config must be, and which of them must fit together.

Rules that need a library (is there such a timm model?) are where the library is used. Nothing here
imports more than the standard library.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from omni.config import Config

MODALITIES = ("image", "audio", "text")
OBJECTIVES = ("joint", "within", "matching", "masked", "next_token", "image_flow", "audio_flow")
"""weights of `LossConfig`, beside that of the contrast of its pairs"""
LONGEST_SAMPLES = 1 << 22
"""of a recording: half of the noise of which each gets a stretch (`omni.modality.audio`)"""
SPECIAL_AND_BYTES = 258
"""tokens that every vocabulary has, but one of letters"""


@dataclass(frozen=True)
class Rule:
    """What a field must be, in words that follow "must be", and whether a value is so."""

    words: str
    holds: Callable[[Any], bool]


def whole(low: int, high: int | None = None) -> Rule:
    """An integer from `low` on, to `high` where there is one."""
    words = (
        f"a whole number of {low} or more" if high is None else f"a whole number {low} ... {high}"
    )
    return Rule(words, lambda x: type(x) is int and low <= x and (high is None or x <= high))


def number(low: float, high: float = math.inf) -> Rule:
    """A finite number between two, both of which are allowed."""
    words = f"a number of {low:g} or more" if high == math.inf else f"a number {low:g} ... {high:g}"
    return Rule(words, lambda x: _is_number(x) and low <= x <= high)


def above_zero() -> Rule:
    """A finite number, not 0."""
    return Rule("a number above 0", lambda x: _is_number(x) and x > 0)


def switch() -> Rule:
    """True or false."""
    return Rule("true or false", lambda x: type(x) is bool)


def text(pattern: str, words: str) -> Rule:
    """A string of which the whole is as a pattern says."""
    return Rule(words, lambda x: isinstance(x, str) and re.fullmatch(pattern, x) is not None)


def several(each: Rule, words: str, least: int = 0) -> Rule:
    """A tuple of so many at least."""
    return Rule(
        words, lambda x: isinstance(x, tuple) and len(x) >= least and all(map(each.holds, x))
    )


def settings(other: Rule, words: str) -> Rule:
    """What another rule allows, or a JSON object with a type of model."""
    return Rule(words, lambda x: other.holds(x) or _has_model_type(x))


def _is_number(x: Any) -> bool:
    return type(x) in (int, float) and math.isfinite(x)


def _has_model_type(x: Any) -> bool:
    try:
        return isinstance(json.loads(x)["model_type"], str)
    except (ValueError, TypeError, KeyError):
        return False


def _is_mesh(x: Any) -> bool:
    if not isinstance(x, tuple) or len(x) != 3 or {*map(type, x)} != {int}:
        return False
    copies, *others = x
    return copies >= 0 and min(others) >= 1


def _is_pair(x: Any) -> bool:
    found = x.split("+") if isinstance(x, str) else []
    return len(found) == 2 and len({*found} & {*MODALITIES}) == 2


def _is_required(x: Any) -> bool:
    return isinstance(x, str) and (not x or {*x.split("+")} <= {*MODALITIES})


SHARE = number(0, 1)
ANY_TEXT = text(r"[^\0]*", "a text")
SOME_TEXT = text(r"[^\0]+", "a text that is not empty")
PARTS = several(SOME_TEXT, "names of parts of the network, such as encoders.image")
RULES: dict[str, Rule] = {
    "name": text(
        r"(?!\.\.?$)[^/\\\x00-\x1f]{1,200}", "the name of one folder, without / or \\ and not .."
    ),
    "model.width": whole(2),
    "model.depth": whole(1),
    "model.num_heads": whole(1),
    "model.embed_dim": whole(1),
    "model.gist_dim": whole(0),
    "model.flow_width": whole(4),
    "model.flow_depth": whole(1),
    "model.flow_draft": whole(0),
    "model.image.encoder": SOME_TEXT,
    "model.image.pretrained": ANY_TEXT,
    "model.image.size": whole(8, 4096),
    "model.image.patch": whole(1),
    "model.audio.sample_rate": whole(1_000, 192_000),
    "model.audio.num_mels": whole(8),
    "model.audio.hop": whole(1),
    "model.audio.max_seconds": above_zero(),
    "model.audio.encoder": settings(
        text("", ""), "empty or the settings of a model as JSON, with model_type"
    ),
    "model.audio.pretrained": ANY_TEXT,
    "model.audio.depth": whole(1),
    "model.audio.patch": whole(1),
    "model.text.encoder": settings(
        text(r"[\w-]+", ""), "a model type of transformers, or settings as JSON with model_type"
    ),
    "model.text.pretrained": ANY_TEXT,
    "model.text.vocab_size": Rule(
        f"0, for letters, or a whole number of {SPECIAL_AND_BYTES} or more",
        lambda x: type(x) is int and (x == 0 or x >= SPECIAL_AND_BYTES),
    ),
    "model.text.max_tokens": whole(2),
    "model.text.ngrams": whole(1),
    "model.text.depth": whole(1),
    "model.text.decoder_depth": whole(1),
    "data.path": several(SOME_TEXT, "one folder, pattern or URL, or more", least=1),
    "data.weights": several(above_zero(), "numbers above 0"),
    "data.require": several(
        Rule("", _is_required), f"sets of {', '.join(MODALITIES)}, each joined by +"
    ),
    "data.split": text(r"[^/\\\x00-\x1f]+", "the name of a split, without / or \\"),
    "data.batch_size": whole(1),
    "data.shuffle_shards": whole(0),
    "data.streams": whole(1),
    "data.workers": whole(0, 1024),
    "data.damaged": text(r"absent|drop", "absent or drop"),
    "data.max_bad": SHARE,
    "data.foreign": SHARE,
    "data.translated": SHARE,
    "data.languages": several(text(r"[^\s<>]+", ""), "codes of languages, such as en"),
    "data.language_alpha": number(0),
    "data.extra_texts": whole(0),
    "data.shuffled": switch(),
    "loss.contrastive": number(0),
    "loss.pairs": several(
        Rule("", _is_pair), f"pairs of {', '.join(MODALITIES)}, each joined by +"
    ),
    "loss.joint": number(0),
    "loss.within": number(0),
    "loss.memory": whole(0),
    "loss.matching": number(0),
    "loss.masked": number(0),
    "loss.next_token": number(0),
    "loss.word_dropout": SHARE,
    "loss.image_flow": number(0),
    "loss.audio_flow": number(0),
    "loss.dropping": SHARE,
    "train.steps": whole(1),
    "train.lr": above_zero(),
    "train.warmup": whole(0),
    "train.weight_decay": number(0),
    "train.clip": above_zero(),
    "train.ema": number(0, 1),
    "train.frozen": PARTS,
    "train.thaw": SHARE,
    "train.lora": whole(0),
    "train.lora_parts": PARTS,
    "train.seed": whole(0, 2**40),
    "train.device": text(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:N or mps"),
    "train.precision": text(r"bf16|fp32", "bf16 or fp32"),
    "train.compile": switch(),
    "train.recompute": switch(),
    "train.offload": switch(),
    "train.mesh": Rule("three whole numbers: 0 or more, 1 or more, 1 or more", _is_mesh),
    "train.accumulate": whole(1),
    "train.deterministic": switch(),
    "train.threads": whole(0, 4096),
    "train.log_every": whole(0),
    "train.save_every": whole(0),
    "train.sample_every": whole(0),
    "evaluate.every": whole(0),
    "evaluate.tasks": several(text(r"\w+", ""), "one name of a task, or more", least=1),
    "evaluate.data": ANY_TEXT,
    "evaluate.limit": whole(1),
}
"""by the name of the field, as its flag says it"""


def validate(config: Config) -> None:
    """Raises `ValueError` for the first field that is not as it must be: name, rule and value."""
    for name, value in leaves(config):
        if not RULES[name].holds(value):
            raise ValueError(f"{name} must be {RULES[name].words}, got {value!r}")
    for name, fits, words in _combinations(config):
        if not fits:
            value = dict(leaves(config)).get(name, "")
            raise ValueError(f"{name} must be {words}, got {value!r}")


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that is no section, by its whole name, and its value."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def _combinations(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Name of a field, whether it fits to others, and what it must be to do so."""
    model, data, train = config.model, config.data, config.train
    image, audio = model.image, model.audio
    heads = 2 * model.num_heads
    words = f"a multiple of 2 x model.num_heads = {heads}"
    yield "model.width", model.width % heads == 0, words
    words = f"less than model.embed_dim = {model.embed_dim}"
    yield "model.gist_dim", model.gist_dim < model.embed_dim, words
    flow_heads = model.flow_width * model.num_heads // model.width
    fits = flow_heads > 0 and model.flow_width % flow_heads == 0 and model.flow_width % 4 == 0
    head_width = model.width // model.num_heads
    words = f"a multiple of 4, and of heads as wide as model.width / num_heads = {head_width}"
    yield "model.flow_width", fits, words
    words = f"a multiple of model.image.patch = {image.patch}"
    yield "model.image.size", image.size % image.patch == 0, words
    bins = 2 * audio.hop + 1
    words = f"at most the {bins} frequencies of a window of four times model.audio.hop"
    yield "model.audio.num_mels", audio.num_mels <= bins, words
    samples = int(audio.max_seconds * audio.sample_rate)
    words = f"so long that it has {4 * audio.hop} samples, a window of four times model.audio.hop"
    yield "model.audio.max_seconds", samples >= 4 * audio.hop, words
    longest = LONGEST_SAMPLES - audio.sample_rate
    words = f"at most {longest / audio.sample_rate:g} s at model.audio.sample_rate"
    yield "model.audio.max_seconds", samples <= longest, words
    for name, given in (("data.weights", data.weights), ("data.require", data.require)):
        words = f"empty, or one for each of the {len(data.path)} of data.path"
        yield name, len(given) in (0, len(data.path)), words
    words = f"a multiple of train.accumulate = {train.accumulate}"
    yield "data.batch_size", data.batch_size % train.accumulate == 0, words
    loss = config.loss
    compares = loss.contrastive and loss.pairs
    learns = compares or any(getattr(loss, name) for name in OBJECTIVES)
    words = "above 0, with loss.pairs, where all other weights of losses are 0"
    yield "loss.contrastive", bool(learns), words
    words = "a rank, where train.lora_parts names parts, and 0 where it does not"
    yield "train.lora", bool(train.lora) == bool(train.lora_parts), words
