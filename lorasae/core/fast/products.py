"""Products of a few tokens with a wide frozen matrix, written into room that is there already."""

import torch
from torch import Tensor

PROCESSOR_BLOCK = 1024  # columns; against all columns of a wide matrix at once, a processor is a fifth to a third slower


def product(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, scale: float = 1.0) -> None:
    """`out = scale * (x @ weight + bias)`.

    Args:
        out: `(rows, width)`, whatever stands in it.
        x: `(rows, d)`.
        weight: `(d, width)`, usually a view of `(width, d)`.
        bias: `(width,)`.
    """
    width = weight.shape[1]
    block = width if weight.is_cuda else PROCESSOR_BLOCK
    for start in range(0, width, block):
        columns = slice(start, start + block)
        if bias is None:
            torch.addmm(out[:, columns], x, weight[:, columns], beta=0, alpha=scale, out=out[:, columns])
        else:
            torch.addmm(bias[columns], x, weight[:, columns], beta=scale, alpha=scale, out=out[:, columns])
