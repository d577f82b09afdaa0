"""Attention against torch's own, and what masks promise."""

import pytest
import torch
import torch.nn.functional as F

from omni.nn.attention import SelfAttention, attend


def test_plain_products_equal_torchs_attention() -> None:
    q, k, v = (torch.randn(3, 2, 5, 8) for _ in range(3))
    mask = torch.rand(3, 1, 5, 5) < 0.7
    mask[..., 0] = True
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # Worst seen: 3e-7.
    torch.testing.assert_close(attend(q, k, v, mask), expected, atol=2e-6, rtol=0)


def test_a_masked_key_cannot_be_seen() -> None:
    layer = SelfAttention(16, 2)
    x = torch.randn(2, 6, 16)
    mask = torch.ones(2, 1, 6, dtype=torch.bool)
    mask[:, :, 4:] = False
    changed = x.clone()
    changed[:, 4:] += 100
    torch.testing.assert_close(layer(x, mask)[0][:, :4], layer(changed, mask)[0][:, :4])
    with pytest.raises(AssertionError):
        torch.testing.assert_close(layer(x)[0][:, :4], layer(changed)[0][:, :4])


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width=10, num_heads=4"):
        SelfAttention(10, 4)
