"""Muon, for matrices and for the kernels of convolutions."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omni.training.slices import local, split_like, whole

MOMENTUM = 0.95
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""coefficients of x, x^3 and x^5"""
ROUNDS = 4
"""singular values of 0.03 ... 1 come to 0.35 ... 1.2; a fifth round costs more than it gives"""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose every update is the nearest orthogonal matrix (Jordan et al. 2024).

    A kernel counts as a matrix of outputs x (inputs, window), which `torch.optim.Muon` does not
    take. The update is scaled to the size of AdamW's (arXiv:2502.16982, section 2.2), so that both
    share one learning rate; weights decay as in AdamW.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                mine, momentum, grad = local(p), local(state["momentum"]), local(p.grad)
                momentum.lerp_(grad, 1 - MOMENTUM)
                # A matrix in slices is put together: every process finds the same update.
                ahead = whole(grad.lerp(momentum, MOMENTUM), p).flatten(1)
                update = split_like(orthogonalize(ahead, self.dtype).view(p.shape), p)
                mine.mul_(1 - group["lr"] * group["weight_decay"])
                mine.add_(update, alpha=-group["lr"] * 0.2 * max(ahead.shape) ** 0.5)


def orthogonalize(
    matrix: Float[Tensor, "N M"], dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "N M"]:
    """Nearly the U V^T of a matrix U S V^T: a polynomial, taken in `dtype`, brings S near 1."""
    a, b, c = POLYNOMIAL
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
