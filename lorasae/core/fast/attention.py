"""Causal attention with soft cap, sliding window and grouped queries, its backward pass derived by hand.

Queries are taken a block at a time and meet only the keys that one of them sees, so that what the mask would hide is not computed. The
queries of one key head are rows of one matrix, row token · group + member, so that keys and values are not repeated.

With s = scale q·k, cap c and t = tanh(s / c), a token weighs what it sees by P = softmax(c t) and reads O = P V. Backwards, with
D = Σ dO O over a head's channels:

    dV = Pᵀ dO        ds = P (1 - t²) (dO Vᵀ - D)        dQ = scale ds K        dK = scale dsᵀ Q

Kept from the forward pass are P and P (1 - t²). A CPU spends most of its time outside of products on tanh and exp, so tanh is taken
from the logistic function, t = 2 σ(2 s / c) - 1 and 1 - t² = 4 σ (1 - σ), and exponentials are to base 2.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

QUERY_BLOCK = 64  # tokens
LOG2_E = math.log2(math.e)


class Attention(Protocol):
    """What all ways of computing attention look like."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
        """As `causal_attention`."""
        ...


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    """What every token reads from itself and its past. Differentiable in q, k and v, once.

    Args:
        q: `(batch, heads, pos, head_dim)`.
        k: `(batch, kv_heads, pos, head_dim)`; heads is a multiple of kv_heads, and query head h reads key head h // (heads // kv_heads).
        v: Same shape as k.
        scale: Factor of the scores q·k.
        softcap: Scores become softcap · tanh(score / softcap) before the softmax; None leaves them.
        window: Token t sees tokens t - window + 1 … t; None shows it its whole past.

    Returns:
        Shape and dtype of q; in memory it lies as `(batch, pos, heads, head_dim)`. Products are taken in q's dtype, the softmax in fp32 or
        better. For the backward pass two numbers are kept per head and pair of tokens that see each other, without a cap one; under
        `no_grad` nothing is.
    """
    scores = _Scores(scale, softcap, window, group=q.shape[1] // k.shape[1])
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _CausalAttention.apply(q, k, v, scores)  # pyright: ignore[reportReturnType]
    return _attended(_rows(q, scores.group), k.flatten(0, 1), v.flatten(0, 1), scores, out=_heads_like(q), kept=None)


class _Block(NamedTuple):
    """Consecutive queries and all keys that one of them sees."""

    queries: slice  # tokens
    rows: slice  # the same as rows, `group` for each token
    keys: slice  # tokens; the last of them is the last query


@dataclass(frozen=True)
class _Scores:
    """From queries and keys to weights."""

    scale: float
    softcap: float | None
    window: int | None
    group: int  # query heads per key head

    def blocks(self, pos: int) -> Iterator[_Block]:
        for start in range(0, pos, QUERY_BLOCK):
            stop = min(start + QUERY_BLOCK, pos)
            first = 0 if self.window is None else max(0, start + 1 - self.window)
            yield _Block(slice(start, stop), slice(start * self.group, stop * self.group), slice(first, stop))

    @property
    def slope_unit(self) -> float:
        """What the slopes of `weights` leave out of ds / d(q·k), so that no pass over the scores is spent on it."""
        return self.scale if self.softcap is None else 4 * self.scale

    def weights(self, rows: Tensor, keys: Tensor, block: _Block, *, with_slopes: bool) -> tuple[Tensor, Tensor | None]:
        """P and P (1 - t²) / 4 of one block, both `(batch · kv_heads, rows, keys)`. Without a cap the second is P itself."""
        rows, keys = rows[:, block.rows], keys[:, block.keys]
        unit = self.scale * (LOG2_E if self.softcap is None else 2 / self.softcap)
        scores = rows.new_empty(len(rows), rows.shape[1], keys.shape[1]).baddbmm_(rows, keys.transpose(1, 2), beta=0, alpha=unit)
        scores = scores.to(_at_least_fp32(scores))
        if self.softcap is None:
            return (weights := self._softmax_(scores, block)), weights
        sigma = scores.sigmoid_()
        slopes = torch.addcmul(sigma, sigma, sigma, value=-1) if with_slopes else None
        span = 2 * self.softcap * LOG2_E
        middle = torch.tensor(-span / 2, dtype=sigma.dtype)  # in host memory on purpose: a scalar to torch, for which a GPU does not wait
        weights = self._softmax_(torch.add(middle, sigma, alpha=span, out=scores), block)
        return weights, None if slopes is None else slopes.mul_(weights)

    def _softmax_(self, scores: Tensor, block: _Block) -> Tensor:
        """Powers of two over their sum, in place."""
        self._hide_(scores.view(len(scores), -1, self.group, scores.shape[2]), block)
        if not self._powers_are_bounded(scores.dtype):
            scores.sub_(scores.amax(dim=-1, keepdim=True))
        scores.exp2_()
        return scores.div_(scores.sum(dim=-1, keepdim=True))

    def _hide_(self, scores: Tensor, block: _Block) -> None:
        """Take out what a query must not see: a triangle ahead of it, and one behind its window. Scores `(…, query, group, key)`."""
        n_queries, diagonal = scores.shape[1], block.queries.start - block.keys.start
        scores[..., diagonal:] += _minus_infinity(scores, n_queries, n_queries).triu_(1)[:, None]
        if self.window is not None and (n_behind := diagonal + n_queries - self.window) > 0:
            scores[..., :n_behind] += _minus_infinity(scores, n_queries, n_behind).tril_(diagonal - self.window)[:, None]

    def _powers_are_bounded(self, dtype: torch.dtype) -> bool:
        """Whether the cap alone keeps exp(score) and its sums far from overflow and underflow, so that no maximum has to be found."""
        return self.softcap is not None and self.softcap < 0.75 * math.log(torch.finfo(dtype).max)


def _attended(rows: Tensor, keys: Tensor, values: Tensor, scores: _Scores, out: Tensor, kept: list[Tensor] | None) -> Tensor:
    """Fill `out` block by block; what the backward pass needs of each block is appended to `kept`."""
    for block in scores.blocks(out.shape[2]):
        weights, slopes = scores.weights(rows, keys, block, with_slopes=kept is not None)
        weights = weights.to(values.dtype)
        target = _by_token(out, scores.group)[:, :, block.queries]
        target.copy_(torch.bmm(weights, values[:, block.keys]).view(target.shape))
        if kept is not None and slopes is not None:
            kept += [weights, slopes]
    return out


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scores: _Scores) -> Tensor:
        rows, keys, values, kept = _rows(q, scores.group), k.flatten(0, 1), v.flatten(0, 1), []
        out = _attended(rows, keys, values, scores, _heads_like(q), kept)
        ctx.save_for_backward(rows, keys, values, out, *kept)
        ctx.scores = scores
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, keys, values, out, *kept = ctx.saved_tensors
        scores: _Scores = ctx.scores
        d_rows = _rows(d_out, scores.group)
        precise = _at_least_fp32(out)
        expected = (d_rows.to(precise) * _rows(out, scores.group).to(precise)).sum(dim=-1, keepdim=True)
        d_q, d_keys, d_values = _heads_like(out), _accumulator(keys), _accumulator(values)
        for block, weights, slopes in zip(scores.blocks(out.shape[2]), kept[::2], kept[1::2], strict=True):
            d_block = d_rows[:, block.rows]
            _add_product(d_values[:, block.keys], weights.transpose(1, 2), d_block)
            d_weights = torch.bmm(d_block, values[:, block.keys].transpose(1, 2)).to(slopes.dtype)
            d_scores = d_weights.sub_(expected[:, block.rows]).mul_(slopes).to(rows.dtype)
            _add_product(d_keys[:, block.keys], d_scores.transpose(1, 2), rows[:, block.rows], scores.slope_unit)
            target = _by_token(d_q, scores.group)[:, :, block.queries]
            torch.mul(torch.bmm(d_scores, keys[:, block.keys]).view(target.shape), scores.slope_unit, out=target)
        shape = (len(out), len(keys) // len(out), *keys.shape[1:])
        return d_q, d_keys.to(keys.dtype).view(shape), d_values.to(values.dtype).view(shape), None


def _by_token(heads: Tensor, group: int) -> Tensor:
    """`(batch, heads, pos, head_dim)` seen as `(batch, kv_heads, pos, group, head_dim)`."""
    return heads.unflatten(1, (-1, group)).transpose(2, 3)


def _rows(heads: Tensor, group: int) -> Tensor:
    """`(batch, heads, pos, head_dim)` as `(batch · kv_heads, pos · group, head_dim)`."""
    return _by_token(heads, group).flatten(2, 3).flatten(0, 1)


def _heads_like(heads: Tensor) -> Tensor:
    """Empty, of the same shape, with the heads of a token beside each other, where the projections before and after want them."""
    return heads.new_empty(heads.transpose(1, 2).shape).transpose(1, 2)


def _accumulator(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=_at_least_fp32(like), memory_format=torch.contiguous_format)


def _add_product(total: Tensor, left: Tensor, right: Tensor, factor: float = 1.0) -> None:
    """total += factor · left @ right; sums over blocks stay in fp32 when the products do not."""
    if total.dtype == left.dtype:
        total.baddbmm_(left, right, alpha=factor)
    else:
        total.add_(torch.bmm(left, right), alpha=factor)


def _minus_infinity(like: Tensor, n_rows: int, n_columns: int) -> Tensor:
    return torch.full((n_rows, n_columns), -math.inf, dtype=like.dtype, device=like.device)


def _at_least_fp32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
