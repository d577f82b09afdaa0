"""Data of which nothing can be learned is refused; what is not learned of it is told."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

import train
from omni.batch import SENSES
from omni.config import LossConfig
from omni.pipeline.formats import mask_of
from omni.pipeline.synthetic import _members, make_samples
from omni.pipeline.writer import write_shard
from omni.training.learnable import check, missing
from tests.training.trainer import tiny

ALL = LossConfig(matching=0.25, masked=0.25, dropping=0.25)


def learned(loss: LossConfig, *samples: str, answers: bool = False) -> set[str]:
    found, lacking = missing(loss, map(mask_of, samples), lambda: answers)
    assert not {*found} & {*lacking}
    return {name.removeprefix("loss.").removeprefix("contrastive of ") for name in found}


def test_what_can_be_learned_of_each_set_of_modalities() -> None:
    several = {"matching", "masked"}
    assert learned(ALL, "image+audio+text") == several | {
        *("image+text", "audio+text", "image+audio", "joint"),
        *("next_token", "image_flow", "audio_flow"),
    }
    assert learned(ALL, "image+text") == several | {"image+text", "next_token", "image_flow"}
    assert learned(ALL, "audio+text") == several | {"audio+text", "next_token", "audio_flow"}
    assert learned(ALL, "image+audio") == several | {"image+audio", "image_flow", "audio_flow"}
    for modality in SENSES:
        assert learned(ALL, modality) == set()
    assert learned(ALL, "text", answers=True) == {"next_token"}
    # Over samples: of one concept, for all that anybody knows.
    assert learned(ALL, "image", "text") == {"image+text"}
    assert "joint" in learned(ALL, "image+text", "audio")


@pytest.mark.parametrize("modality", SENSES)
def test_one_modality_alone_is_refused_with_what_it_lacks(modality: str) -> None:
    with pytest.raises(ValueError) as error:
        check(ALL, [mask_of(modality)], lambda: False, "my/data")
    told = str(error.value)
    assert told.startswith(f"nothing can be learned of my/data, whose samples have {modality}: ")
    assert len(told.splitlines()) == 1 and told.count("two modalities in one sample") == 2
    others = [pair for pair in combinations(SENSES, 2) if modality in pair]
    assert all(f"needs any {other}" in told for pair in others for other in {*pair} - {modality})


def test_what_is_not_learned_is_told() -> None:
    _, none = check(ALL, [mask_of("image+audio+text"), mask_of("text")], lambda: False, "x")
    assert none == ""
    _, told = check(ALL, [mask_of("image+text")], lambda: False, "x")
    assert "not learned of x, whose samples have image+text: " in told
    assert "loss.audio_flow needs audio beside another modality" in told
    _, told = check(LossConfig(pairs=("image+text",)), [1, 4], lambda: False, "x")
    assert "loss.contrastive of image+text: no sample has both" in told
    with pytest.raises(ValueError, match=r"loss.within needs another objective beside it"):
        within = LossConfig(contrastive=0, joint=0, next_token=0, image_flow=0, audio_flow=0)
        check(within, [mask_of("image+text")], lambda: False, "x")


def test_steps_without_anything_to_learn_do_nothing_and_go_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of many pictures two have a text: most steps have nothing to compare."""
    made = [s for s in make_samples("train", 60) if s.image is not None and s.text is not None]
    members = [(s.key, _members(s)) for s in made[:18]]
    alone = [(key, {k: v for k, v in m.items() if k in ("png", "jpg")}) for key, m in members[2:]]
    (tmp_path / "world").mkdir()
    write_shard(tmp_path / "world/train-000000.tar", members[:2] + alone)
    config = tiny(str(tmp_path / "world"))
    config = replace(
        config,
        data=replace(config.data, batch_size=2, extra_texts=0),
        loss=LossConfig(contrastive=0, joint=0, within=0, audio_flow=0, image_flow=0),
        train=replace(config.train, steps=9, save_every=0),
    )
    assert train.train(config, tmp_path / "run")
    told = capsys.readouterr().out
    assert told.count("step ") == 9 and "loss 0 " in told
