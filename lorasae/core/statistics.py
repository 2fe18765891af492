"""Sums over tokens that become metrics: SAE statistics, and ratios of sums with their standard errors."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorasae.core.sae import SparseAutoencoder

PerSequence = NDArray[np.float64]  # (n_sequences,)


class SiteStatistics:
    """L0, variance explained, densities and dead features of one SAE, summed over all tokens seen.

    Sums are float64: with the large means of residual streams, the difference of two fp32 sums would lose the variance.
    """

    def __init__(self, d_in: int, d_sae: int) -> None:
        self.n_tokens = 0
        self.fired = torch.zeros(d_sae, dtype=torch.int64)  # tokens on which each feature was active
        self._sum = torch.zeros(d_in, dtype=torch.float64)
        self._sum_of_squares = 0.0
        self._error = 0.0

    def add(self, x: Tensor, feature_acts: Tensor, reconstruction: Tensor) -> None:
        """Count tokens: x and its reconstruction `(tokens, d_in)`, feature_acts `(tokens, d_sae)`."""
        x64 = x.detach().to("cpu", torch.float64)
        self.n_tokens += len(x)
        self.fired += (feature_acts > 0).sum(dim=0).cpu()
        self._sum += x64.sum(dim=0)
        self._sum_of_squares += x64.square().sum().item()
        self._error += (x64 - reconstruction.detach().to("cpu", torch.float64)).square().sum().item()

    @property
    def l0(self) -> float:
        """Mean number of active features per token."""
        return self.fired.sum().item() / self.n_tokens

    @property
    def fve(self) -> float:
        """1 - sum |x - x_hat|^2 / sum |x - mean x|^2; 0 where the stream does not vary at all."""
        variation = self._sum_of_squares - self._sum.square().sum().item() / self.n_tokens
        return 1 - self._error / variation if variation > 0 else 0.0

    @property
    def dead_fraction(self) -> float:
        """Share of features that fired on none of `n_tokens` tokens."""
        return (self.fired == 0).double().mean().item()

    @property
    def density(self) -> Tensor:
        """`(d_sae,)`: share of tokens on which each feature fired."""
        return self.fired / self.n_tokens


class Observer:
    """A transform that changes nothing and lets SiteStatistics count what its SAE would make of the stream."""

    def __init__(self, sae: SparseAutoencoder) -> None:
        self.sae = sae
        self.statistics = SiteStatistics(sae.d_in, sae.d_sae)

    def __call__(self, x: Tensor) -> Tensor:
        self._count(x)
        return x

    def _count(self, x: Tensor) -> Tensor:
        reconstruction = self.sae.reconstruct(x)
        self.statistics.add(x, self.sae.encode(x), reconstruction)
        return reconstruction


class CountingReconstruction(Observer):
    """The SAE itself as a transform, counting on the way."""

    def __call__(self, x: Tensor) -> Tensor:
        return self._count(x)


def jackknife(value: Callable[..., NDArray[np.float64] | float], *sums: PerSequence) -> tuple[float, float]:
    """A function of totals, with its standard error over sequences.

    Tokens of one sequence are not independent, sequences are; leaving each out in turn keeps the pairing between conditions measured on
    the same text, which is what makes the error of a difference or of a ratio small.

    Args:
        value: Takes one total per entry of `sums` (numbers or arrays, elementwise) and returns the metric.
        sums: Per-sequence sums, each `(n_sequences,)`.

    Returns:
        (metric of the totals, standard error); the error is nan for a single sequence.
    """
    totals = [each.sum() for each in sums]
    n = len(sums[0])
    if n < 2:
        return float(value(*totals)), float("nan")
    left_out = np.asarray(value(*(total - each for total, each in zip(totals, sums, strict=True))), dtype=np.float64)
    return float(value(*totals)), float(np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum()))
