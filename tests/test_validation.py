"""A config as a whole: every field has a rule, and what breaks it is refused by name."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import train
from omni.batch import SENSES
from omni.config import Config
from omni.device import pick_device
from omni.modality.audio import NOISE
from omni.presets import PRESETS
from omni.validation import LONGEST_SAMPLES, MODALITIES, RULES, leaves, validate

NOT_WHOLE = (-1, 0.5, True, "1", math.nan)
NOT_ABOVE_0 = (0, -1.0, math.nan, math.inf, "1", True)
NOT_A_WEIGHT = (-0.1, math.nan, math.inf, "1", None)
NOT_A_SHARE = (-0.1, 1.1, math.nan, True)
NOT_A_SWITCH = (0, 1, "yes")
NOT_A_TEXT = (0, None, "a\0b")
NOT_NAMES = ("image", (1,), ("",))
BAD: dict[str, tuple[Any, ...]] = {
    "name": ("", ".", "..", "../y", "a/b", "/tmp/x", "a\\b", "a\nb", "x" * 201, 3),
    "model.width": (0, 1, *NOT_WHOLE),
    "model.depth": (0, *NOT_WHOLE),
    "model.num_heads": (0, *NOT_WHOLE),
    "model.embed_dim": (0, *NOT_WHOLE),
    "model.gist_dim": NOT_WHOLE,
    "model.flow_width": (0, 3, *NOT_WHOLE),
    "model.flow_depth": (0, *NOT_WHOLE),
    "model.flow_draft": NOT_WHOLE,
    "model.image.encoder": ("", *NOT_A_TEXT),
    "model.image.pretrained": NOT_A_TEXT,
    "model.image.size": (0, 7, 5000, *NOT_WHOLE),
    "model.image.patch": (0, *NOT_WHOLE),
    "model.audio.sample_rate": (0, 999, 10**6, *NOT_WHOLE),
    "model.audio.num_mels": (0, 7, *NOT_WHOLE),
    "model.audio.hop": (0, *NOT_WHOLE),
    "model.audio.max_seconds": NOT_ABOVE_0,
    "model.audio.encoder": ("whisper", "{", "[]", '{"a": 1}', 3),
    "model.audio.pretrained": NOT_A_TEXT,
    "model.audio.depth": (0, *NOT_WHOLE),
    "model.audio.patch": (0, *NOT_WHOLE),
    "model.text.encoder": ("", "a b", "{", '{"model_type": 1}', 3),
    "model.text.pretrained": NOT_A_TEXT,
    "model.text.vocab_size": (1, 257, *NOT_WHOLE),
    "model.text.max_tokens": (0, 1, *NOT_WHOLE),
    "model.text.ngrams": (0, *NOT_WHOLE),
    "model.text.depth": (0, *NOT_WHOLE),
    "model.text.decoder_depth": (0, *NOT_WHOLE),
    "data.path": ((), ("",), "data/sample", (3,)),
    "data.weights": ((0.0,), (-1.0,), (math.nan,), 1.0),
    "data.require": (("smell",), ("image+smell",), "image", (1,)),
    "data.split": ("", "../train", 3),
    "data.batch_size": (0, *NOT_WHOLE),
    "data.shuffle_shards": NOT_WHOLE,
    "data.streams": (0, *NOT_WHOLE),
    "data.workers": (2000, *NOT_WHOLE),
    "data.damaged": ("", "keep", True, None),
    "data.max_bad": NOT_A_SHARE,
    "data.foreign": NOT_A_SHARE,
    "data.translated": NOT_A_SHARE,
    "data.languages": ("en", ("",), ("<en>",), (1,)),
    "data.language_alpha": NOT_A_WEIGHT,
    "data.extra_texts": NOT_WHOLE,
    "data.shuffled": NOT_A_SWITCH,
    "loss.contrastive": NOT_A_WEIGHT,
    "loss.pairs": (("image",), ("image+image",), ("image+smell",), "image+text", (1,)),
    "loss.joint": NOT_A_WEIGHT,
    "loss.within": NOT_A_WEIGHT,
    "loss.memory": NOT_WHOLE,
    "loss.matching": NOT_A_WEIGHT,
    "loss.masked": NOT_A_WEIGHT,
    "loss.next_token": NOT_A_WEIGHT,
    "loss.word_dropout": NOT_A_SHARE,
    "loss.image_flow": NOT_A_WEIGHT,
    "loss.audio_flow": NOT_A_WEIGHT,
    "loss.dropping": NOT_A_SHARE,
    "train.steps": (0, *NOT_WHOLE),
    "train.lr": NOT_ABOVE_0,
    "train.warmup": NOT_WHOLE,
    "train.weight_decay": NOT_A_WEIGHT,
    "train.clip": NOT_ABOVE_0,
    "train.ema": NOT_A_SHARE,
    "train.frozen": NOT_NAMES,
    "train.thaw": NOT_A_SHARE,
    "train.lora": NOT_WHOLE,
    "train.lora_parts": NOT_NAMES,
    "train.seed": (2**41, *NOT_WHOLE),
    "train.device": ("", "gpu", "cuda:x", 0),
    "train.precision": ("fp16", "", 32),
    "train.compile": NOT_A_SWITCH,
    "train.recompute": NOT_A_SWITCH,
    "train.offload": NOT_A_SWITCH,
    "train.mesh": ((-1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 1), (1, 1, 1.0), 1),
    "train.accumulate": (0, *NOT_WHOLE),
    "train.deterministic": NOT_A_SWITCH,
    "train.threads": (10_000, *NOT_WHOLE),
    "train.log_every": NOT_WHOLE,
    "train.save_every": NOT_WHOLE,
    "train.sample_every": NOT_WHOLE,
    "evaluate.every": NOT_WHOLE,
    "evaluate.tasks": ((), ("a b",), "retrieval"),
    "evaluate.data": NOT_A_TEXT,
    "evaluate.limit": (0, *NOT_WHOLE),
}


def changed(config: Any, field: str, value: Any) -> Any:
    """The config with another value of a field, by its whole name."""
    name, _, rest = field.partition(".")
    return replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid(preset: str) -> None:
    validate(PRESETS[preset]())
    validate(Config.from_json(PRESETS[preset]().to_json()))


def test_every_field_has_a_rule_and_values_that_break_it() -> None:
    fields = [name for name, _ in leaves(Config())]
    assert fields == [*RULES] == [*BAD]


@pytest.mark.parametrize("field", BAD)
def test_what_breaks_the_rule_of_a_field_is_refused_by_name(field: str) -> None:
    for value in BAD[field]:
        with pytest.raises(ValueError) as error:
            validate(changed(PRESETS["demo"](), field, value))
        assert str(error.value) == f"{field} must be {RULES[field].words}, got {value!r}"
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.width": 190}, "model.width must be a multiple of .* = 6, got 190"),
        ({"model.width": 195}, "model.width must be a multiple of"),  # heads of an odd width
        ({"model.gist_dim": 192}, "model.gist_dim must be less than model.embed_dim = 192"),
        ({"model.flow_width": 258}, "model.flow_width must be a multiple of 4"),
        ({"model.flow_width": 32}, "model.flow_width must be .* as wide as .* = 64, got 32"),
        ({"model.image.size": 65}, "model.image.size must be a multiple of .* = 16, got 65"),
        ({"model.audio.num_mels": 500}, "num_mels must be at most the 401 frequencies"),
        ({"model.audio.max_seconds": 0.01}, "max_seconds must be so long that it has 800 samples"),
        ({"model.audio.max_seconds": 300.0}, "max_seconds must be at most 261.144 s"),
        ({"data.weights": (1.0, 1.0)}, r"data.weights must be empty, or one for each of the 1"),
        ({"data.require": ("image", "")}, r"data.require must be empty, or one for each of the 1"),
        ({"train.accumulate": 3}, "data.batch_size must be a multiple of train.accumulate = 3"),
        ({"train.lora": 4}, "train.lora must be a rank, where"),
        ({"train.lora_parts": ("shared",)}, "train.lora must be a rank, where"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], message: str) -> None:
    config: Any = PRESETS["demo"]()
    for field, value in changes.items():
        config = changed(config, field, value)
    with pytest.raises(ValueError, match=message):
        validate(config)


def test_a_run_with_nothing_to_learn_is_refused() -> None:
    off = {name: 0.0 for name in ("joint", "within", "matching", "next_token")}
    config = PRESETS["demo"]()
    loss = replace(config.loss, image_flow=0.0, audio_flow=0.0, **off)
    validate(replace(config, loss=loss))
    for nothing in (replace(loss, contrastive=0.0), replace(loss, pairs=())):
        with pytest.raises(ValueError, match=r"loss.contrastive must be above 0, with loss.pairs"):
            validate(replace(config, loss=nothing))


def test_what_is_not_checked_here_agrees_with_what_uses_it() -> None:
    assert {*MODALITIES} == {*SENSES}
    assert LONGEST_SAMPLES == NOISE // 2


def test_nothing_is_made_of_a_config_that_is_refused(tmp_path: Path) -> None:
    config = changed(PRESETS["debug"](), "train.threads", -1)
    with pytest.raises(ValueError, match=r"train.threads .* got -1"):
        train.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    text = json.dumps(json.loads(PRESETS["debug"]().to_json()) | {"name": "../y"})
    with pytest.raises(ValueError, match=r"name must be .* got '../y'"):
        train.train(Config.from_json(text), tmp_path / "run")


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "cpu:x", "cpu:1"])
def test_a_device_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"device must be auto or one that there is .*{name!r}"):
        pick_device(name)
