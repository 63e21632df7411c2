"""Muon for the matrices of a network (Jordan et al. 2024): momentum, made orthogonal by a Newton-Schulz iteration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, from the method's publication: they bring every singular value near 1 in five turns."""


class Muon(torch.optim.Optimizer):
    """For parameters of two dimensions or more; convolutions count as matrices of output × (input · kernel)."""

    def __init__(self, parameters: Iterable[torch.Tensor], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})
        for group in self.param_groups:
            for value in group["params"]:
                self.state[value]["momentum"] = torch.zeros_like(value)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update."""
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is None:
                    continue
                momentum = self.state[value]["momentum"]
                momentum.lerp_(value.grad, 1 - group["momentum"])
                ahead = value.grad.lerp(momentum, group["momentum"]).flatten(1)
                update = orthogonal(ahead) * max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
                value.mul_(1 - group["decay"] * group["lr"]).sub_(update.view_as(value), alpha=group["lr"])


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with orthonormal rows or columns, in bfloat16 arithmetic."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.mT if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    answer: torch.Tensor = (x.mT if tall else x).to(matrix.dtype)
    return answer
