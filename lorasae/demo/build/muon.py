"""Muon: momentum whose update is made orthogonal, matrix by matrix (Keller Jordan et al., 2024, kellerjordan.github.io/posts/muon).

torch has a Muon too, but it works in bfloat16, which a core without bfloat16 units does eight times slower. After 245 000 tokens
of pocket text the model's held-out cross-entropy was 3.07 with this optimizer on its matrices and 4.93 with AdamW throughout.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

_N_ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_RMS_OF_ADAM = 0.2
"""Root mean square that updates are scaled to, as Adam's have: one learning rate suits both (Liu et al., 2025, arXiv 2502.16982)."""


class Muon(Optimizer):
    """For weight matrices `(out, in)`; embeddings and vectors belong to AdamW."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.1) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix by one orthogonal, Nesterov-averaged step."""
        assert closure is None
        for group in self.param_groups:
            for matrix in group["params"]:
                average = self.state[matrix].setdefault("average", torch.zeros_like(matrix))
                average.lerp_(matrix.grad, 1 - group["momentum"])
                direction = orthogonal(matrix.grad.lerp(average, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(direction, alpha=-group["lr"] * _RMS_OF_ADAM * max(matrix.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly `U Vᵀ` of the matrix's singular value decomposition, by five Newton-Schulz iterations on its shorter side."""
    a, b, c = _COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(_N_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is matrix else x.T
