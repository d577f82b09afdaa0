"""The order of samples: exact, computed, and mixed as far as it says."""

import numpy as np
import pytest

from omni.pipeline.dataset import Dataset
from omni.pipeline.order import Order, Shuffle, interleave, mix, quotas, shuffle
from tests.pipeline.shards import write_data


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 1000, 4097])
def test_a_shuffle_is_a_permutation_that_its_key_decides(count):
    index, size = np.arange(count), np.array(count)
    one, two = (shuffle(index, size, mix(key)) for key in (1, 2))
    assert sorted(one) == sorted(two) == list(range(count))
    assert np.array_equal(one, shuffle(index, size, mix(1)))
    if count > 5:
        assert not np.array_equal(one, two) and not np.array_equal(one, index)


def test_a_shuffle_leaves_no_trace_of_the_order():
    """Rank correlation of place and number, mean over keys: 1/sqrt(n keys) for a random order."""
    index = np.arange(1000)
    rhos = [np.corrcoef(index, shuffle(index, np.array(1000), mix(k)))[0, 1] for k in range(64)]
    assert abs(np.mean(rhos)) < 0.02
    assert 0.02 < np.std(rhos) < 0.045  # 0.032
    neighbours = [np.abs(np.diff(shuffle(index, np.array(1000), mix(k)))).mean() for k in range(64)]
    assert abs(np.mean(neighbours) - 1000 / 3) < 10


@pytest.mark.parametrize("sizes", [[7], [1, 2], [897, 3006], [1, 1, 50], [5, 0, 3, 11]])
def test_parts_are_spread_evenly_and_exactly(sizes):
    total = sum(sizes)
    part, item = interleave(np.arange(total), sizes)
    for number, size in enumerate(sizes):
        assert item[part == number].tolist() == list(range(size))
        share = np.cumsum(part == number) - np.arange(1, total + 1) * size / total
        assert np.abs(share).max() < len(sizes)


def test_quotas_are_exact():
    assert quotas([0.7, 0.2, 0.1], 1024) == [717, 205, 102]
    assert sum(quotas([1, 1, 1], 1024)) == 1024


MIXINGS = [Shuffle(), Shuffle(streams=4), Shuffle(1, 3), Shuffle(2, 8), Shuffle(3, 5)]


@pytest.mark.parametrize("mixing", MIXINGS)
def test_every_epoch_holds_every_sample_once(data, mixing):
    dataset = Dataset(str(data))
    order = Order(dataset, seed=5, require=0, mixing=mixing)
    epochs, numbers, *_ = order.at(np.arange(3 * len(dataset)))
    whole = numbers.reshape(3, len(dataset))
    assert [sorted(epoch) for epoch in whole] == [list(range(47))] * 3
    assert epochs.tolist() == np.repeat([0, 1, 2], 47).tolist()
    assert not np.array_equal(whole[0], whole[1])
    assert np.array_equal(order.at(np.array([50, 3]))[1], numbers[[50, 3]])


def test_far_positions_are_as_near_as_the_first(data):
    order = Order(Dataset(str(data)), seed=5, require=0, mixing=Shuffle())
    start = 47 * 10**12
    assert sorted(order.at(np.arange(start, start + 47))[1]) == list(range(47))


def test_required_senses_are_there_and_the_rest_is_counted(data):
    dataset = Dataset(str(data))
    order = Order(dataset, seed=0, require=0b010, mixing=Shuffle())  # audio
    numbers = order.at(np.arange(len(order)))[1]
    assert (dataset.column("senses", numbers) & 0b010).all()
    assert order.filtered == 47 - len(order) > 0
    with pytest.raises(ValueError, match="no sample has image"):
        only = write_data(data / "texts", (4,), senses=("text",))
        Order(Dataset(str(only)), seed=0, require=0b001, mixing=Shuffle())


def test_few_shards_are_open_at_a_time(tmp_path):
    """Mixed two at a time, any stretch of an epoch comes from few shards; mixed at large, not."""
    data = write_data(tmp_path / "many", (8,) * 12, senses=("text",))
    dataset = Dataset(str(data))

    def open_shards(mixing: Shuffle) -> int:
        numbers = Order(dataset, 1, 0, mixing).at(np.arange(16))[1]
        return len({dataset.locate(int(n))[0].url for n in numbers})

    assert open_shards(Shuffle(shards=2)) == 2
    assert open_shards(Shuffle()) > 6


def test_streams_read_different_shards(tmp_path):
    data = write_data(tmp_path / "many", (8,) * 12, senses=("text",))
    dataset = Dataset(str(data))
    _, numbers, _, streams = Order(dataset, 1, 0, Shuffle(1, 4)).at(np.arange(96))
    shards = [
        {dataset.locate(int(n))[0].url for n in numbers[streams == stream]} for stream in range(4)
    ]
    assert [len(mine) for mine in shards] == [3, 3, 3, 3]
    assert len(set.union(*shards)) == 12


def test_a_substitute_is_fixed_and_has_the_same_senses(data):
    dataset = Dataset(str(data))
    order = Order(dataset, seed=5, require=0, mixing=Shuffle())
    epochs, numbers, strata, _ = order.at(np.arange(47))
    found = set()
    for epoch, number, stratum in zip(epochs, numbers, strata, strict=True):
        other = order.substitute(int(epoch), int(stratum), int(number), 1)
        assert other == order.substitute(int(epoch), int(stratum), int(number), 1)
        senses = dataset.column("senses", np.array([number, other]))
        assert senses[0] == senses[1]
        found.add(other)
    assert len(found) > 10
