"""Group norm over what is present: torch's own where all is, and blind to all else."""

import pytest
import torch
import torch.nn.functional as F

from omni.nn.norm import GROUP, SequenceGroupNorm


def norm(channels: int) -> SequenceGroupNorm:
    torch.manual_seed(0)
    layer = SequenceGroupNorm(channels)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return layer


def present(lengths: list[int], size: int) -> torch.Tensor:
    return (torch.arange(size) < torch.tensor(lengths)[:, None])[:, None, None]


@pytest.mark.parametrize("channels", [GROUP // 2, GROUP, 3 * GROUP])
def test_where_nothing_is_padded_it_is_torchs_group_norm(channels: int) -> None:
    layer, x = norm(channels), torch.randn(3, channels, 5, 7) + 0.5
    groups = max(1, channels // GROUP)
    expected = F.group_norm(x, groups, layer.weight, layer.bias)
    # Worst seen: 1e-6.
    torch.testing.assert_close(layer(x, present([7] * 3, 7)), expected, atol=1e-5, rtol=0)


def test_neither_padding_nor_neighbours_change_an_item() -> None:
    layer, x, lengths = norm(2 * GROUP), torch.randn(3, 2 * GROUP, 5, 40), [40, 23, 1]
    batched = layer(x, present(lengths, 40))
    for row, count in enumerate(lengths):
        alone = layer(x[row : row + 1, ..., :count], present([count], count))
        padded = layer(x[row : row + 1] + 9 * ~present([count], 40), present([count], 40))
        for other in (batched[row, ..., :count], padded[0, ..., :count]):
            torch.testing.assert_close(other, alone[0], atol=1e-5, rtol=0)
    # Control: torch's takes in all that is there.
    usual = F.group_norm(x, 2, layer.weight, layer.bias)
    assert (usual - batched)[1, ..., :23].abs().max() > 0.01


def test_what_is_everywhere_the_same_is_finite() -> None:
    """Mean of squares less square of mean comes out below zero for some of these."""
    layer = norm(GROUP)
    for value in torch.linspace(0, 100, 200):
        x = value.expand(1, GROUP, 4, 50).clone().requires_grad_()
        y = layer(x, present([50], 50))
        y.sum().backward()
        assert y.isfinite().all() and x.grad is not None and x.grad.isfinite().all()
