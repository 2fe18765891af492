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


def sums_in_fp32(weight: Tensor) -> bool:
    """Whether the weight's device multiplies bf16 (or fp16) with an fp32 result; elsewhere the result would be rounded to bf16."""
    return weight.is_cuda and torch.version.hip is None


def mixed_product(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """`out = x @ weight` of low precision, summed and kept in fp32; only where `sums_in_fp32`."""
    torch.mm(x, weight, out_dtype=out.dtype, out=out)
