"""Batches as a function of the step: any topology, any moment, the same samples."""

import json
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from omni.config import DataConfig
from omni.pipeline.dataset import Dataset
from omni.pipeline.plan import CYCLE, WINDOW, Plan
from omni.pipeline.quarantine import Ledger
from tests.pipeline.shards import write_data


def plan(*folders, seed=3, **settings) -> Plan:
    config = DataConfig(**{"batch_size": 8, "extra_texts": 4} | settings)
    return Plan(config, seed, [Dataset(str(folder)) for folder in folders])


@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("rules", [{}, {"streams": 4, "shuffle_shards": 1}])
def test_every_save_and_resume_goes_on_exactly(data, world, rules):
    """Three epochs; saved after any step by one world, resumed by another, and once more."""
    steps = 3 * 47 // 8 + 1
    whole = plan(data, **rules)
    reference = [(whole.batch(s), whole.extra(s)) for s in range(steps)]
    for saved in range(steps + 1):
        state = json.dumps(whole.state(saved))
        assert len(state) < 1024
        resumed = plan(data, **rules)
        start = resumed.restore(json.loads(state))
        again = plan(data, **rules)  # the resume of a resume, two steps on
        later = again.restore(json.loads(json.dumps(resumed.state(start + 2))))
        assert (start, later) == (saved, saved + 2)
        for plans, first in ((resumed, start), (again, later)):
            for step in range(first, steps):
                parts = [plans.batch(step, rank, world) for rank in range(world)]
                texts = [plans.extra(step, rank, world) for rank in range(world)]
                assert len({len(part) for part in parts}) == 1
                assert [*chain(*parts)] == reference[step][0]
                assert [*chain(*texts)] == reference[step][1]


def test_every_sample_comes_once_an_epoch_and_none_is_dropped(data):
    made = plan(data)
    picks = [p for step in range(12 * WINDOW) for p in made.batch(step)]
    counts = Counter((p.epoch, p.number) for p in picks)
    assert set(counts.values()) == {1}
    assert Counter(p.epoch for p in picks) == dict.fromkeys(range(16), 47) | {16: 16}


def test_another_seed_is_another_order(data):
    assert plan(data).batch(0) != plan(data, seed=4).batch(0)


def test_a_step_far_away_costs_what_the_first_one_costs(data):
    assert len(plan(data).batch(10**7)) == 8


def test_every_batch_has_each_set_of_senses_in_its_proportion(tmp_path):
    folder = write_data(tmp_path / "data", (96,))
    made, dataset = plan(folder, batch_size=24), Dataset(str(folder))
    for step in range(WINDOW):
        numbers = np.array([p.number for p in made.batch(step)])
        counts = Counter(dataset.column("senses", numbers).tolist())
        assert len(counts) == 5
        # A third has all senses, a sixth each of the other four sets.
        assert all(abs(counts[mask] - (8 if mask == 7 else 4)) <= 2 for mask in counts)


def test_batches_of_one_window_are_sorted_by_length(tmp_path):
    folder = write_data(tmp_path / "data", (96,), senses=("audio",))
    made, dataset = plan(folder, batch_size=12), Dataset(str(folder))
    spread = []
    for step in range(WINDOW):
        numbers = np.array([p.number for p in made.batch(step)])
        frames = dataset.column("frames", numbers)
        spread.append(frames.max() - frames.min())
    whole = dataset.column("frames", np.arange(96))
    assert np.mean(spread) < (whole.max() - whole.min()) / 4


def test_sources_are_blended_exactly_and_each_runs_its_own_epochs(tmp_path):
    one = write_data(tmp_path / "one", (40,))
    two = write_data(tmp_path / "two", (10,), first=1000)
    made = plan(one, two, weights=(3.0, 1.0))
    picks = [p for step in range(CYCLE // 8) for p in made.batch(step)]
    assert Counter(p.source for p in picks) == {0: 768, 1: 256}
    for source, size in ((0, 40), (1, 10)):
        mine = [p for p in picks if p.source == source]
        assert set(Counter((p.epoch, p.number) for p in mine).values()) == {1}
        epochs = Counter(p.epoch for p in mine)
        last = max(epochs)
        assert {epochs[epoch] for epoch in range(last)} == {size}


def test_without_weights_sources_count_by_their_size(tmp_path):
    one = write_data(tmp_path / "one", (30,))
    two = write_data(tmp_path / "two", (10,), first=1000)
    made = plan(one, two)
    assert Counter(p.source for p in made.blend.at(np.arange(40))[0]) == {0: 30, 1: 10}


def test_each_source_may_require_its_own_senses(tmp_path):
    one = write_data(tmp_path / "one", (36,))
    two = write_data(tmp_path / "two", (36,), first=1000)
    made = plan(one, two, require=("image+audio", ""))
    masks = {0: set(), 1: set()}
    for step in range(6):
        for pick in made.batch(step):
            senses = made.datasets[pick.source].column("senses", np.array([pick.number]))
            masks[pick.source].add(int(senses[0]))
    assert all(mask & 0b011 == 0b011 for mask in masks[0])
    assert len(masks[1]) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": (1.0, 2.0)}, "data.weights must have a value"),
        ({"require": ("image", "audio")}, "data.require must have a value"),
        ({"require": ("smell",)}, "a sense must be one of"),
        ({"streams": 0}, "must be at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(data, settings, message):
    with pytest.raises(ValueError, match=message):
        plan(data, **settings)


def test_a_batch_that_ranks_cannot_share_is_refused(data):
    with pytest.raises(ValueError, match="multiple of the processes, got 8 and 3"):
        plan(data).batch(0, 0, 3)


def test_changed_data_is_refused_by_name(data):
    state = plan(data).state(5)
    write_data(data, (17, 19, 12))
    with pytest.raises(ValueError, match=r"data:train' has changed since"):
        plan(data).restore(state)


@pytest.mark.parametrize("change", [{"seed": 9}, {"batch_size": 16}, {"streams": 2}])
def test_changed_rules_are_refused_by_name(data, change):
    state = plan(data).state(5)
    with pytest.raises(ValueError, match="seed" if "seed" in change else "rules"):
        plan(data, **change).restore(state)


@pytest.mark.parametrize("sizes", [(8, 12), (8, 4, 16), (16, 8, 8, 4), (4, 47)])
@pytest.mark.parametrize("steps", [1, 3, WINDOW, 13])
def test_with_other_sizes_a_run_goes_on_with_the_samples_that_have_not_come(data, sizes, steps):
    """Cut in the middle of windows, of which some are sorted by length, and of epochs."""
    state, step, picks, texts = None, 0, [], []
    for size in sizes:
        made = plan(data, batch_size=size, extra_texts=size + 1)
        if state:
            assert made.restore(json.loads(json.dumps(state)), changed=True) == step
        for number in range(step, step + steps):
            picks += made.batch(number)
            texts += made.extra(number)
        step += steps
        state = made.state(step)
        assert state["position"] == len(picks)
    # On to the end of a window: nothing is missing or came twice.
    last = plan(data, batch_size=sizes[-1], extra_texts=sizes[-1] + 1)
    assert last.restore(state) == step  # it is as it was: no changes need be allowed
    while not last.opens_window(step) or last.outstanding(step)[1]:
        picks += last.batch(step)
        texts += last.extra(step)
        step += 1
    counts = Counter((p.epoch, p.number) for p in picks)
    assert set(counts.values()) == {1}
    assert len(counts) == last.outstanding(step)[0] == last.state(step)["position"]
    reference = plan(data, extra_texts=len(texts)).extra(0)
    assert texts == reference


def test_the_books_are_kept_over_a_change_of_sizes(data):
    made = plan(data, batch_size=8)
    state = made.state(11)
    other = plan(data, batch_size=16)
    step = other.restore(state, changed=True)
    for start in (step, step + 3, step + 3 * WINDOW):
        ledger = Ledger(other, start)
        for number in range(start, step + 6 * WINDOW):
            ledger.add(number, other.batch(number), [])  # asserts what each epoch has had
        assert all(count > 0 for count in ledger.emitted.values())
