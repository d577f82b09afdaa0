"""Steps of equal sizes are timed in turns: pictures and texts alone, ours and open_clip's."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from eval.baselines import speed
from eval.baselines.pairs import write_pairs
from omni.presets import debug


@pytest.fixture(scope="module")
def config(small_data, tmp_path_factory):
    """The debug preset on the pairs of a small corpus."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(str(small_data), folder)
    preset = debug()
    return speed.alone(replace(preset, data=replace(preset.data, batch_size=16)), folder)


def moved(contestant: speed.Contestant) -> set[str]:
    """The parts of the network that a step changes."""
    before = {name: p.detach().clone() for name, p in contestant.network.named_parameters()}
    contestant.take_turn()
    after = contestant.network.named_parameters()
    return {name.split(".")[0] for name, p in after if not p.equal(before[name])}


@pytest.mark.parametrize("plain", [False, True])
def test_a_step_of_ours_trains_what_reads_pictures_and_texts(config, plain):
    contestant, _ = speed.ours(config, plain)
    assert {"encoders", "projections", "shared"} <= (found := moved(contestant))
    assert not found & {"flows", "text_decoder", "matching"}


def test_a_step_of_theirs_trains_both_towers(config):
    _, batches = speed.ours(config, True)
    theirs = speed.theirs(config, batches[0])
    assert {"visual", "transformer", "token_embedding"} <= moved(theirs)
    millions, flops = theirs.sizes()
    assert millions == pytest.approx(sum(p.numel() for p in theirs.network.parameters()) / 1e6)
    assert flops > 0


def test_each_is_first_as_often_as_the_others():
    order = []
    rows = [speed.Contestant(nn.Identity(), lambda name=name: order.append(name)) for name in "abc"]
    speed.race(rows, 6)
    firsts = order[::3]
    assert [firsts.count(name) for name in "abc"] == [3, 3, 3]
    assert all(len(row.seconds) == 6 for row in rows)


def test_the_command_prints_all_three(small_data, monkeypatch, capsys):
    words = ["--preset", "debug", "--data", str(small_data), "--turns", "2", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["speed", *words])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    speed.main()
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[-3:]]
    assert rows == ["ours, Muon", "ours, AdamW", "open_clip, AdamW"]
