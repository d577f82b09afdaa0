"""Sequences of like length together: each as if it were alone, in calls that are always as many."""

import torch
from torch import Tensor

from omni.nn.lengths import GROUPS, by_length
from omni.nn.transformer import Transformer


def test_each_sequence_is_read_as_if_it_were_alone_and_little_padding_is_read() -> None:
    torch.manual_seed(0)
    network = Transformer(16, 2, 2)
    x, lengths = torch.randn(20, 30, 16), torch.arange(20) % 7
    mask = torch.arange(30) < lengths[:, None]
    mask[3, 29] = True  # a gap: what is not there lies between two senses
    mask[4, 0] = False
    read = []

    def encode(x: Tensor, mask: Tensor, number: Tensor) -> Tensor:
        read.append(mask.numel())
        return network(x, mask) + number[:, None, None]

    together = by_length(encode, x, mask, torch.arange(20.0))
    assert together.shape == x.shape
    for i in range(20):
        alone = network(x[i : i + 1], mask[i : i + 1]) + i
        torch.testing.assert_close(together[i][mask[i]], alone[0][mask[i]], atol=1e-5, rtol=0)
    assert sum(read) < mask.numel() / 2
    assert not torch.allclose(together[5][mask[5]], together[6][mask[5]])


def test_there_are_as_many_calls_however_few_sequences_there_are() -> None:
    calls = []

    def encode(x: Tensor, mask: Tensor) -> Tensor:
        calls.append(len(x))
        return 2 * x

    for count in (1, 2, GROUPS, 40):
        x = torch.randn(count, 5, 3)
        assert torch.equal(by_length(encode, x, torch.ones(count, 5, dtype=torch.bool)), 2 * x)
    assert len(calls) == 4 * GROUPS and all(calls)
