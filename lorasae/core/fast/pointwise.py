"""Norms and rotations with backward passes of their own: fewer passes over the stream and fewer saved tensors than autograd's."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lorasae.core.fast.anatomy import Norm


def normed(norm: Norm, x: Tensor) -> Tensor:
    """`(..., d)` -> the same, reckoned in fp32 or better and rounded once to the dtype of x."""
    if norm.rms:
        return _RMSNorm.apply(x, norm.gain, norm.eps)
    return F.layer_norm(x, x.shape[-1:], norm.gain, norm.bias, norm.eps)


class _RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * gain. The gain is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        inverse = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, gain, inverse)
        return (exact * inverse).mul_(gain).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        x, gain, inverse = ctx.saved_tensors
        exact = x.to(inverse.dtype)
        scaled = dy.to(inverse.dtype) * gain  # gradient at x * inverse
        along = torch.linalg.vecdot(scaled, exact)[..., None].mul_(inverse.pow(3)).div_(-x.shape[-1])
        return scaled.mul_(inverse).addcmul_(exact, along).to(x.dtype), None, None


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding: `(batch, pos, heads, head_dim)` -> `(batch, heads, pos, head_dim)`, contiguous.

    Args:
        x: Queries or keys as their map gives them.
        cos: `(pos, rotated)`; dimensions beyond `rotated` stay as they are (GPT-NeoX).
        sin: Same shape.
    """
    return _Rotation.apply(x, cos, sin)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x.transpose(1, 2), cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(dy.transpose(1, 2), cos[:, None], -sin[:, None]), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The two halves of the rotated dimensions, turned by the angle; a contiguous result. A turn back is a turn by the negative sine."""
    size = cos.shape[-1]
    half = size // 2
    left, right = x[..., :half], x[..., half:size]
    cos, sin = cos[..., :half], sin[..., :half]  # both halves of the table are the same
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    torch.mul(left, cos, out=out[..., :half]).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=out[..., half:size]).addcmul_(left, sin)
    out[..., size:] = x[..., size:]
    return out
