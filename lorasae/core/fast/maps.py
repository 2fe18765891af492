"""The linear maps of a block: frozen, or with the adapter's share, which is reckoned without PEFT's copies and casts.

    y = x W^T + b + s (x A^T) B^T          s = alpha / rank, A (rank, in), B (out, rank)

In fp32 without dropout the two factors are added to the weight once per step (`x (W + s B A)^T`): one product per token instead of
three. Otherwise the share is reckoned beside the weight, in the weight's dtype, from the fp32 masters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lorasae.core.fast.anatomy import NoAnatomy

MERGED_BYTES = 2**31  # weights with an adapter in them are kept for a step only up to this size


class Maps(Protocol):
    """How the linear maps of a forward pass are reckoned."""

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """`(..., in)` -> `(..., out)`."""
        ...


def frozen_map(module: nn.Module, x: Tensor) -> Tensor:
    """The map without any adapter."""
    weight, bias = _weight_and_bias(module)
    return F.linear(x, weight, bias)


@dataclass(frozen=True)
class _Share:
    """The adapter's share of one map."""

    A: Tensor
    B: Tensor
    scale: float
    dropout: float
    merged: Tensor | None  # (out, in)


class AdaptedMaps:
    """The maps of the adapted model for one step: of one adapter, with its weights as they are when this is made."""

    def __init__(self, model: nn.Module, adapter: str, *, training: bool = True) -> None:
        """
        Args:
            model: The model with the adapter attached.
            adapter: Its name.
            training: Whether the adapter's dropout acts.

        Raises:
            NoAnatomy: For an adapter that is not a plain LoRA on linear maps.
        """
        layers = [module for module in model.modules() if isinstance(module, LoraLayer) and adapter in module.lora_A]
        for layer in layers:
            _refuse_what_is_not_plain(layer, adapter)
        with torch.no_grad():
            rates = {layer: getattr(layer.lora_dropout[adapter], "p", 0.0) if training else 0.0 for layer in layers}
            merge = _mergeable(rates)
            self._shares: dict[nn.Module, _Share] = {layer: _share(layer, adapter, rate, merge=merge) for layer, rate in rates.items()}

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """`(..., in)` -> `(..., out)`, with gradients to A, B and x."""
        share = self._shares.get(module)
        if share is None:
            return frozen_map(module, x)
        weight, bias = _weight_and_bias(module)
        if share.merged is not None:
            return _Merged.apply(x, share.A, share.B, share.merged, bias, share.scale)
        noise = _noise(x, share) if share.dropout else None
        return _Beside.apply(x, share.A, share.B, weight, bias, share.scale, noise)


def _weight_and_bias(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """`(out, in)` and `(out,)` of a linear map, whatever way its family stores it."""
    base: Any = module.base_layer if isinstance(module, LoraLayer) else module
    return (base.weight if isinstance(base, nn.Linear) else base.weight.T), base.bias


def _refuse_what_is_not_plain(layer: Any, adapter: str) -> None:
    if adapter in layer.lora_variant or layer.lora_bias.get(adapter) or layer.merged:
        raise NoAnatomy("its adapter is not a plain LoRA")
    if not isinstance(layer.base_layer, nn.Linear) and type(layer.base_layer).__name__ != "Conv1D":
        raise NoAnatomy(f"its adapter sits on a {type(layer.base_layer).__name__}")


def _mergeable(rates: Mapping[Any, float]) -> bool:
    """Whether the adapter may be added to the weights of its layers: exactly enough, without dropout, and not too large."""
    weights = [layer.base_layer.weight for layer in rates]
    exact = all(weight.dtype in (torch.float32, torch.float64) for weight in weights)
    return exact and not any(rates.values()) and sum(weight.numel() * weight.element_size() for weight in weights) <= MERGED_BYTES


def _share(layer: Any, adapter: str, dropout: float, *, merge: bool) -> _Share:
    A, B, scale = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, layer.scaling[adapter]
    merged = torch.addmm(_weight_and_bias(layer)[0], B, A, alpha=scale) if merge else None
    return _Share(A, B, scale, dropout, merged)


def _noise(x: Tensor, share: _Share) -> Tensor:
    """What dropout multiplies x with, drawn as torch's own dropout draws it on the CPU: the same stream of random numbers."""
    keep = 1 - share.dropout
    return torch.empty_like(x, dtype=share.A.dtype).bernoulli_(keep).div_(keep)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


class _Merged(torch.autograd.Function):
    """x (W + s B A)^T + b, the sum having been made before."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, A: Tensor, B: Tensor, merged: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        ctx.save_for_backward(x, A, B, merged)
        ctx.scale = scale
        return F.linear(x, merged, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, A, B, merged = ctx.saved_tensors
        dx = dy @ merged if ctx.needs_input_grad[0] else None
        rows, drows = _rows(x), _rows(dy)
        dA = (ctx.scale * (drows @ B)).T @ rows
        dB = drows.T @ (ctx.scale * (rows @ A.T))
        return dx, dA, dB, None, None, None


class _Beside(torch.autograd.Function):
    """x W^T + b + s (drop(x) A^T) B^T, with A and B in the dtype of x while they are multiplied."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, A: Tensor, B: Tensor, weight: Tensor, bias: Tensor | None, scale: float, noise: Tensor | None
    ) -> Tensor:
        dtype = x.dtype
        dropped = x if noise is None else x * noise.to(dtype)
        inner = F.linear(dropped, A.to(dtype))
        ctx.save_for_backward(dropped, inner, A, B, weight, noise)
        ctx.scale = scale
        y = F.linear(x, weight, bias)
        _rows(y).addmm_(_rows(inner), B.to(dtype).T, alpha=scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dropped, inner, A, B, weight, noise = ctx.saved_tensors
        dtype = dy.dtype
        dinner = (dy @ B.to(dtype)).mul_(ctx.scale)
        dA = (_rows(dinner).T @ _rows(dropped)).to(A.dtype)
        dB = (_rows(dy).T @ _rows(inner)).to(B.dtype).mul_(ctx.scale)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dinner @ A.to(dtype)
            if noise is not None:
                dx.mul_(noise)
            dx += dy @ weight
        return dx, dA, dB, None, None, None, None
