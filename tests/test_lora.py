"""Adapters: what learns, what it is worth, and that a plain network comes out."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from omni.batch import Part
from omni.config import Config, LossConfig
from omni.interface import load
from omni.lora import add_adapters, merge
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.presets import debug

PARTS = ("shared", "text_decoder.blocks", "encoders.text.encoder")
OTHERS = (
    "encoders.image", "encoders.audio", "encoders.text.ngrams", "projections", "sense", "head",
    "text_decoder.embedding", "text_decoder.norm", "text_decoder.head",
)  # fmt: skip
TOKENIZER = Tokenizer.train(["red dot"], ["en"], 300)
LAST = "checkpoints/step-000004/model.safetensors"


def config(parts: tuple[str, ...] = PARTS, frozen: tuple[str, ...] = (), steps: int = 4) -> Config:
    """`debug` with few steps; of the parts that are named nothing but adapters learns."""
    c = debug()
    data = replace(c.data, batch_size=8, extra_texts=8)
    few = replace(c.train, steps=steps, save_every=max(2, steps // 2), warmup=1, log_every=1)
    return replace(c, data=data, train=replace(few, lora=4, lora_parts=parts, frozen=frozen))


def test_only_adapters_and_what_is_not_named_learn(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train.train(config(), run)
    half, whole = map(load_file, sorted(run.glob("**/model.safetensors")))
    of_parts = [key for key in half if key.startswith(PARTS)]
    still = {key for key in of_parts if torch.equal(half[key], whole[key])}
    assert still == {key for key in of_parts if ".lora_" not in key}
    assert any(".base_layer." in key for key in still) and len(still) < len(of_parts)
    moved = ("projections.text.1.weight", "encoders.text.ngrams.weight", "text_decoder.head.weight")
    assert not any(torch.equal(half[key], whole[key]) for key in moved)

    loaded = load(run)
    assert type(loaded.network.get_submodule("shared.blocks.0.mlp.up")) is torch.nn.Linear
    assert loaded.embed("a red circle").shape == (1, 64)


def test_what_is_merged_does_what_the_adapters_did() -> None:
    torch.manual_seed(0)
    adapted, plain = (Network(debug().model, TOKENIZER).eval() for _ in range(2))
    add_adapters(adapted, config().train)
    weights = adapted.state_dict()
    with torch.no_grad():
        for key in weights:
            if ".lora_B" in key:
                weights[key].normal_(std=0.3)
        ids = torch.randint(2, TOKENIZER.vocab_size, (4, 8))
        part = Part(ids, torch.arange(4), torch.full((4,), 8))
        expected = adapted.fuse(adapted.encode("text", part)).vector
        found = []
        for kept in (1.0, 0.0):  # control: without them it does something else
            some = {key: x * kept if ".lora_B" in key else x for key, x in weights.items()}
            plain.load_state_dict(merge(some))
            found.append(plain.fuse(plain.encode("text", part)).vector)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)
    assert (found[1] - expected).abs().max() > 0.01


def test_a_run_with_adapters_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    train.train(config(), tmp_path / "whole")
    train.train(config(), tmp_path / "other")
    shutil.rmtree((tmp_path / "other" / LAST).parent)
    train.train(config(), tmp_path / "other", resume=True)
    a, b = (load_file(tmp_path / run / LAST) for run in ("whole", "other"))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_adapters_alone_learn_to_write(tmp_path: Path) -> None:
    """Control: the same at a learning rate of next to nothing."""
    weights = LossConfig(contrastive=0, joint=0, within=0, image_flow=0, audio_flow=0, matching=0)

    def falls(name: str, lr: float) -> float:
        c = replace(config(frozen=OTHERS, steps=40), loss=weights)
        train.train(replace(c, train=replace(c.train, lr=lr)), tmp_path / name)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses = [json.loads(line)["loss"] for line in lines]
        return sum(losses[:5]) / 5 - sum(losses[-5:]) / 5

    learned, control = falls("run", 3e-2), falls("control", 1e-9)  # seen: 0.83, 0.03
    assert learned > 0.3 > 0.05 > abs(control)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora": 0}, "train.lora and train.lora_parts go together"),
        ({"lora_parts": ()}, "train.lora and train.lora_parts go together"),
        ({"lora_parts": ("smell",)}, "train.lora_parts: no part 'smell'"),
        ({"lora_parts": ("sense",)}, "sense holds no linear maps"),
        ({"lora_parts": ("shared", "shared.blocks.0")}, "shared.blocks.0 holds no linear maps, or"),
        ({"mesh": (1, 1, 2)}, "split by heads"),
    ],
)
def test_what_cannot_have_adapters_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_adapters(Network(debug().model, TOKENIZER), replace(config().train, **change))
