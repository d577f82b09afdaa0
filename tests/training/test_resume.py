"""Checkpoints: what was saved comes back, and a resumed run is the run."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from omni.config import Config
from omni.presets import debug
from omni.training.checkpoint import list_checkpoints


def short(steps: int, save_every: int) -> Config:
    config = debug()
    settings = replace(
        config.train, steps=steps, save_every=save_every, warmup=2, log_every=4, threads=1
    )
    return replace(
        config,
        train=settings,
        data=replace(config.data, batch_size=16),
        loss=replace(config.loss, memory_from=0.25),
    )


def test_a_resumed_run_is_bitwise_the_unbroken_one(tmp_path: Path) -> None:
    config = short(steps=8, save_every=4)
    train.train(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed/checkpoints/step-000008")
    # What a kill in mid-save leaves behind must not matter.
    (tmp_path / "killed/checkpoints/.step-000008.partial").mkdir()
    train.train(config, tmp_path / "killed", resume=True)
    for file in ("model.safetensors", "training.safetensors"):
        whole = load_file(tmp_path / "whole/checkpoints/step-000008" / file)
        killed = load_file(tmp_path / "killed/checkpoints/step-000008" / file)
        assert whole.keys() == killed.keys()
        assert all(torch.equal(whole[key], killed[key]) for key in whole)
    # The vectors that the contrast remembers are part of the state.
    before = load_file(tmp_path / "whole/checkpoints/step-000004/training.safetensors")
    assert len(before["past/vectors/image"]) == len(before["past/groups/image"]) > 16
    # Control: the checkpoints themselves differ between the steps.
    before = load_file(tmp_path / "whole/checkpoints/step-000004/model.safetensors")
    after = load_file(tmp_path / "whole/checkpoints/step-000008/model.safetensors")
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_a_run_is_never_silently_started_afresh(tmp_path: Path) -> None:
    train.train(short(steps=2, save_every=2), tmp_path / "run")
    with pytest.raises(ValueError, match="add --resume"):
        train.train(short(steps=4, save_every=2), tmp_path / "run")
    newest = list_checkpoints(tmp_path / "run")[-1].stat().st_mtime_ns
    train.train(short(steps=2, save_every=2), tmp_path / "run")  # finished: nothing to do
    assert list_checkpoints(tmp_path / "run")[-1].stat().st_mtime_ns == newest


def test_old_checkpoints_are_pruned_and_new_ones_kept(tmp_path: Path) -> None:
    train.train(short(steps=4, save_every=1), tmp_path / "run")
    names = [folder.name for folder in list_checkpoints(tmp_path / "run")]
    assert names == ["step-000003", "step-000004"]
