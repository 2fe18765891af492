"""Which attention a GPU computes: the first of the fast ones that was seen to do what is asked, else our own.

A backend can fail to build, give NaN backwards, or leave out the soft cap in silence; which of them does depends on versions and on the
card. So none is believed: each is tried on small tensors whose scores reach far above the cap, forwards and backwards, in the precision
it will be used in, and held against `causal_attention` in float64.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from lorasae.core.fast.attention import Attention, causal_attention

BLOCKED = "blocked"  # our own
TRIAL_POS, TRIAL_WINDOW = 160, 96  # not a multiple of the blocks of any backend; a window inside of it
# Relative, in the 2-norm. Without the cap it is 0.8; bf16 itself costs up to 0.02, the 11 bits of a GPU's own tanh 0.01.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 3e-2}


@dataclass(frozen=True)
class ChosenAttention:
    """An attention that may be used, and why the faster ones may not."""

    name: str
    attention: Attention
    passed_over: Mapping[str, str] = field(default_factory=dict)  # name -> reason


def chosen_attention(
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    softcap: float | None,
    window: int | None,
    candidates: Mapping[str, Attention] | None = None,
) -> ChosenAttention:
    """The fastest attention that is right on this device. Compiles and runs each candidate once, which takes seconds on a GPU.

    Args:
        device: Where it will run. Off CUDA our own is taken untried.
        dtype: Of q, k and v.
        head_dim: Of q, k and v.
        softcap: As in `causal_attention`.
        window: As in `causal_attention`; None too where no text is longer than the window, because fewer backends know windows.
        candidates: Fastest first, instead of those that are known here.
    """
    if candidates is None:
        candidates = known_candidates() if device.type == "cuda" else {}
    trial = _Trial.of(device, dtype, head_dim, softcap, window)
    passed_over = {}
    for name, attention in candidates.items():
        reason = trial.objection(attention)
        if reason is None:
            return ChosenAttention(name, attention, passed_over)
        passed_over[name] = reason
    return ChosenAttention(BLOCKED, causal_attention, passed_over)


class TriedAttention:
    """The attention of a GPU, chosen when it is first asked for in some precision, with some cap and window."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[object, ...], ChosenAttention] = {}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
        """As `causal_attention`."""
        window = None if window is None or window >= q.shape[2] else window
        asked = (q.device, q.dtype, q.shape[3], softcap, window)
        if asked not in self.chosen:
            self.chosen[asked] = chosen_attention(*asked)
        return self.chosen[asked].attention(q, k, v, scale=scale, softcap=softcap, window=window)


def known_candidates() -> dict[str, Attention]:
    """Fastest first. FlexAttention is compiled anew for every shape and window; past the limit it would silently run uncompiled."""
    limits = {"recompile_limit": 64, "isolate_recompiles": True}  # torch's stub does not know them
    flex = FlexAttention(torch.compile(flex_attention, dynamic=False, **limits))
    return {"flash-attn": flash_attention, "torch": torch_attention, "flex": flex}


def flash_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    """FlashAttention's own package, where it is installed: 16-bit precisions only; the cap is right in both directions since 2.6.3."""
    package = importlib.import_module("flash_attn")
    by_token = (x.transpose(1, 2) for x in (q, k, v))
    behind = -1 if window is None else window - 1
    out = package.flash_attn_func(*by_token, softmax_scale=scale, causal=True, window_size=(behind, 0), softcap=softcap or 0.0)
    return out.transpose(1, 2)


def torch_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    """Torch's own kernels, which know neither caps nor windows."""
    if softcap is not None or window is not None:
        raise NotImplementedError("scaled_dot_product_attention takes no soft cap, and no window without a mask of all pairs")
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


class FlexAttention:
    """Torch's FlexAttention with a cap and a window. Only its compiled form is fast; the plain one is for checking."""

    def __init__(self, attend: Callable[..., Tensor] = flex_attention) -> None:
        self._attend = attend
        self._cap = functools.cache(_cap)  # the same function again, so that nothing is compiled twice
        self._mask = functools.cache(_mask)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
        """As `causal_attention`."""
        mask = self._mask(q.shape[2], window, q.device)
        cap = None if softcap is None else self._cap(softcap)
        return self._attend(q, k, v, score_mod=cap, block_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


def _cap(softcap: float) -> Callable[..., Tensor]:
    def capped(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped


def _mask(pos: int, window: int | None, device: torch.device) -> BlockMask:
    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) if window is None else (key <= query) & (key > query - window)

    return create_block_mask(seen, None, None, pos, pos, device=device)  # pyright: ignore[reportArgumentType]  # a str by its stub


@dataclass(frozen=True)
class _Trial:
    """Small inputs of one kind, and the right answer."""

    inputs: tuple[Tensor, Tensor, Tensor]
    d_out: Tensor
    scale: float
    softcap: float | None
    window: int | None
    right: tuple[Tensor, ...]  # out, and the gradients of q, k and v, in float64

    @staticmethod
    def of(device: torch.device, dtype: torch.dtype, head_dim: int, softcap: float | None, window: int | None) -> "_Trial":
        """Scores spread as widely as the cap, so that a third of them lie above it. Draws from a generator of its own."""
        generator = torch.Generator().manual_seed(0)
        q, k, v, d_out = (
            torch.randn(2, TRIAL_POS, heads, head_dim, generator=generator).to(device, dtype).transpose(1, 2) for heads in (4, 2, 2, 4)
        )
        scale = (softcap or 3.0) / head_dim**0.5
        window = None if window is None else min(window, TRIAL_WINDOW)
        right = _answer(causal_attention, (q.double(), k.double(), v.double()), d_out.double(), scale, softcap, window)
        return _Trial((q, k, v), d_out, scale, softcap, window, right)

    def objection(self, attention: Attention) -> str | None:
        """Why `attention` must not be used here, or None."""
        try:
            answer = _answer(attention, self.inputs, self.d_out, self.scale, self.softcap, self.window)
        except Exception as error:  # noqa: BLE001  # whatever a kernel or its compiler fails with, there is another
            return f"{type(error).__name__}: {error}".splitlines()[0]
        for name, found, right in zip(("output", "q's gradient", "k's gradient", "v's gradient"), answer, self.right, strict=True):
            distance = ((found.double() - right).norm() / right.norm()).item()
            if not distance <= (tolerance := TOLERANCE[self.d_out.dtype]):  # NaN is not
                return f"its {name} is {distance:.2g} away from the right one, {tolerance:g} is allowed"
        return None


def _answer(
    attention: Attention, inputs: tuple[Tensor, ...], d_out: Tensor, scale: float, softcap: float | None, window: int | None
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        q, k, v = (x.detach().requires_grad_() for x in inputs)
        out = attention(q, k, v, scale=scale, softcap=softcap, window=window)
        return out.detach(), *torch.autograd.grad(out, (q, k, v), d_out)
