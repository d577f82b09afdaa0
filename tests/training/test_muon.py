"""Muon: its updates are orthogonal, and it learns."""

import torch
from torch import nn

from omni.training.muon import Muon, orthogonalize


def test_an_update_is_nearly_orthogonal_for_wide_tall_and_ill_conditioned_matrices() -> None:
    for shape in ((8, 32), (32, 8), (16, 64)):
        matrix = torch.randn(shape) * torch.logspace(0, -1, shape[1])
        made = torch.linalg.svdvals(orthogonalize(matrix))
        given = torch.linalg.svdvals(matrix)
        assert made.min() > 0.5 and made.max() < 1.4, made
        assert given.max() / given.min() > made.max() / made.min()


def test_it_fits_a_kernel_and_takes_its_rate_from_the_group() -> None:
    torch.manual_seed(0)
    teacher, student = nn.Conv2d(4, 8, 3, bias=False), nn.Conv2d(4, 8, 3, bias=False)
    optimizer = Muon(student.parameters(), lr=0.05, weight_decay=0.0)

    def loss() -> torch.Tensor:
        x = torch.randn(16, 4, 6, 6)
        return (student(x) - teacher(x)).square().mean()

    before = loss().item()
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 60)
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss().item() < 0.05 * before
    optimizer.param_groups[0]["lr"] = 0.0
    still = student.weight.clone()
    loss().backward()
    optimizer.step()
    assert torch.equal(student.weight, still)
