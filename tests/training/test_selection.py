"""What each objective takes of a step."""

from dataclasses import replace

import pytest
import torch

from omni.batch import Table
from omni.config import LossConfig
from omni.pipeline.loader import Loader
from omni.presets import debug
from omni.training.selection import SHARES, TOGETHER, Selection

CONFIG = debug()


@pytest.fixture(scope="module")
def table() -> Table:
    loader = Loader(CONFIG.data)
    tokenizer = loader.learn_tokenizer(CONFIG.model.text.vocab_size)
    return loader.batch(0, tokenizer, CONFIG.model).table()


def select(table: Table, weights: LossConfig, seed: int, progress: float = 0.0) -> Selection:
    return Selection(table, weights, torch.Generator().manual_seed(seed), progress)


def test_two_senses_are_fused_only_where_an_objective_wants_them(table: Table) -> None:
    both = {source for seed in range(8) for source in select(table, CONFIG.loss, seed).rows}
    assert len([source for source in both if len(source) == 2]) == 3
    none = replace(CONFIG.loss, **dict.fromkeys(TOGETHER, 0.0))
    for seed in range(8):
        assert {len(source) for source in select(table, none, seed).rows} == {1}


@pytest.mark.parametrize("sense", ["image", "audio"])
def test_a_decoder_learns_from_more_of_a_step_towards_the_end_of_a_run(
    sense: str, table: Table
) -> None:
    first, last = SHARES[sense]
    there = int(table.has(sense).sum())
    for progress in (0.0, 0.5, 1.0):
        dealt = select(table, CONFIG.loss, 0, progress).flows[sense]
        rows = torch.cat([*dealt.values()])
        assert len(rows.unique()) == len(rows)  # no item twice
        share = first + (last - first) * progress
        assert abs(len(rows) - share * there) <= len(dealt)  # whole items of each source
        assert len(dealt["text",]) > 0.8 * len(rows)
