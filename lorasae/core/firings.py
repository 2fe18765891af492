"""Which features fired where, kept sparse: most features are silent on most tokens, and an SAE may have a million of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lorasae.core.sae import SparseAutoencoder

_ACTIVATIONS_AT_ONCE = 2**25  # encoded densely at a time: 128 MB, whatever the SAE's width


@dataclass(frozen=True, eq=False)
class Firings:
    """Every activation above zero on a text, ordered by feature and then by token."""

    feature: NDArray[np.int32]  # (n,)
    token: NDArray[np.int32]  # (n,): index into the text
    value: NDArray[np.float32]  # (n,)
    n_tokens: int  # of the whole text, bypassed positions among them
    d_sae: int

    @cached_property
    def fired(self) -> NDArray[np.int64]:
        """`(d_sae,)`: tokens on which each feature fired."""
        return np.bincount(self.feature, minlength=self.d_sae)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """`(d_sae + 1,)`: where each feature's entries begin; the last one is where all end."""
        return np.concatenate([[0], np.cumsum(self.fired)])

    @cached_property
    def maximum(self) -> NDArray[np.float32]:
        """`(d_sae,)`: each feature's largest activation; 0 for the silent."""
        largest = np.zeros(self.d_sae, dtype=np.float32)
        active = np.flatnonzero(self.fired)
        if len(active):
            largest[active] = np.maximum.reduceat(self.value, self.starts[active])
        return largest

    def of(self, feature: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Tokens on which one feature fired, ascending, and how strongly."""
        part = slice(self.starts[feature], self.starts[feature + 1])
        return self.token[part], self.value[part]

    def on(self, features: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """`(n_tokens, len(features))`: the activations of the named features, zeros included."""
        dense = np.zeros((self.n_tokens, len(features)), dtype=np.float32)
        for column, feature in enumerate(features):
            token, value = self.of(int(feature))
            dense[token, column] = value
        return dense


def firings(sae: SparseAutoencoder, x: Tensor, positions: NDArray[np.int64], n_tokens: int) -> Firings:
    """What an SAE finds in the stream.

    Args:
        sae: The SAE.
        x: `(tokens, d_in)`.
        positions: `(tokens,)`: where in the text each row of x stands.
        n_tokens: Length of the text.
    """
    features, tokens, values = [], [], []
    at_once = max(1, _ACTIVATIONS_AT_ONCE // sae.d_sae)
    for start in range(0, len(x), at_once):
        acts = sae.encode(x[start : start + at_once])
        rows, columns = (acts > 0).nonzero(as_tuple=True)
        values.append(acts[rows, columns].float().cpu().numpy())
        tokens.append(positions[rows.cpu().numpy() + start])
        features.append(columns.cpu().numpy())
    return _ordered(features, tokens, values, n_tokens, sae.d_sae)


def joined(parts: Sequence[Firings], n_tokens: int) -> Firings:
    """Firings on several stretches of one text of n_tokens, whose tokens are already numbered in that text."""
    return _ordered(
        [part.feature for part in parts], [part.token for part in parts], [part.value for part in parts], n_tokens, parts[0].d_sae
    )


def _ordered(features: list, tokens: list, values: list, n_tokens: int, d_sae: int) -> Firings:  # type: ignore[type-arg]
    feature = np.concatenate([np.zeros(0, np.int32), *features]).astype(np.int32)
    token = np.concatenate([np.zeros(0, np.int32), *tokens]).astype(np.int32)
    value = np.concatenate([np.zeros(0, np.float32), *values]).astype(np.float32)
    order = np.lexsort((token, feature))
    return Firings(feature[order], token[order], value[order], n_tokens, d_sae)


def total_change(before: Firings, after: Firings) -> NDArray[np.float64]:
    """`(d_sae,)`: how far each feature moved, summed over the text: a feature that left one word for another has changed twice."""
    shared_before, shared_after = _shared(before, after)
    change = np.bincount(before.feature, weights=before.value, minlength=before.d_sae)
    change += np.bincount(after.feature, weights=after.value, minlength=after.d_sae)
    a, b = before.value[shared_before].astype(np.float64), after.value[shared_after].astype(np.float64)
    change += np.bincount(before.feature[shared_before], weights=np.abs(a - b) - a - b, minlength=before.d_sae)
    unmoved = np.abs(change) < 1e-9  # what is left of sums of float64
    return np.where(unmoved, 0.0, change)


def correlation(before: Firings, after: Firings, n_counted: int) -> NDArray[np.float32]:
    """`(d_sae,)`: Pearson correlation of each feature's activations, silence included; nan where one side does not vary.

    Args:
        before: One condition.
        after: The other, on the same text.
        n_counted: Tokens that the SAE saw.
    """
    shared_before, shared_after = _shared(before, after)
    products = before.value[shared_before].astype(np.float64) * after.value[shared_after]
    cross = np.bincount(before.feature[shared_before], weights=products, minlength=before.d_sae)
    (sum_a, square_a), (sum_b, square_b) = _moments(before), _moments(after)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt((square_a - sum_a**2 / n_counted) * (square_b - sum_b**2 / n_counted))
        return ((cross - sum_a * sum_b / n_counted) / np.where(spread > 0, spread, np.nan)).astype(np.float32)


def _moments(one: Firings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    value = one.value.astype(np.float64)
    sums, squares = (np.bincount(one.feature, weights=each, minlength=one.d_sae) for each in (value, value**2))
    return sums.astype(np.float64), squares.astype(np.float64)


def _shared(before: Firings, after: Firings) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices, in each, of the (feature, token) pairs that fired in both."""
    keys = [one.feature.astype(np.int64) * one.n_tokens + one.token for one in (before, after)]
    _, in_before, in_after = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    return in_before, in_after
