"""Sums that become metrics, against numpy in float64 and against textbook errors."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorasae.core.statistics import CountingReconstruction, Observer, SiteStatistics, jackknife
from tests.core.toys import D_IN, IdentitySAE, ZeroSAE, sparse_sae


def fve_of_numpy(x: Tensor, reconstruction: Tensor) -> float:
    x64, r64 = x.double().numpy(), reconstruction.double().numpy()
    return 1 - np.square(x64 - r64).sum() / np.square(x64 - x64.mean(axis=0)).sum()


def large_mean_stream(n: int = 1000) -> tuple[Tensor, Tensor]:
    """Massive coordinates as in real residual streams: mean 3000, deviation 0.5."""
    x = torch.randn(n, D_IN) * 0.5
    x[:, :3] += torch.tensor([3000.0, -2000.0, 500.0])
    return x, x + 0.1 * torch.randn_like(x)


@pytest.mark.parametrize("sizes", [(1000,), (1, 999), (300, 3, 697)])
def test_variance_explained_survives_a_large_mean_and_uneven_batches(sizes: tuple[int, ...]) -> None:
    """SAELens 6.18 fails both: a mean of per-batch ratios depends on the batching, and fp32 sums lose the variance under the mean."""
    x, reconstruction = large_mean_stream()
    statistics = SiteStatistics(D_IN, 4)
    for part, rebuilt in zip(x.split(sizes), reconstruction.split(sizes), strict=True):
        statistics.add(part, torch.zeros(len(part), 4), rebuilt)
    expected = fve_of_numpy(x, reconstruction)
    assert 0.9 < expected < 0.99
    assert statistics.fve == pytest.approx(expected, abs=1e-8)


def test_a_perfect_reconstruction_explains_everything_and_zeros_less_than_nothing_of_a_stream_with_a_mean() -> None:
    x, _ = large_mean_stream()
    perfect, zero = SiteStatistics(D_IN, 4), SiteStatistics(D_IN, 4)
    perfect.add(x, torch.zeros(len(x), 4), x)
    zero.add(x, torch.zeros(len(x), 4), torch.zeros_like(x))
    assert perfect.fve == 1
    assert zero.fve < -1000


def test_a_stream_that_does_not_vary_has_no_variance_to_explain() -> None:
    statistics = SiteStatistics(2, 4)
    statistics.add(torch.ones(5, 2), torch.zeros(5, 4), torch.zeros(5, 2))
    assert statistics.fve == 0


def test_l0_density_and_dead_features_count_tokens_over_all_batches() -> None:
    statistics = SiteStatistics(2, 4)
    feature_acts = torch.tensor([[1.0, 0, 0, 2], [0, 0, 0, 3], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    for part in feature_acts.split((1, 3)):
        statistics.add(torch.randn(len(part), 2), part, torch.randn(len(part), 2))
    assert statistics.n_tokens == 4
    assert statistics.l0 == 1.0
    assert statistics.density.tolist() == [0.25, 0, 0.25, 0.5]
    assert statistics.dead_fraction == 0.25


def test_an_observer_lets_the_stream_pass_bit_for_bit_and_counts_what_the_sae_would_do() -> None:
    x = torch.randn(50, D_IN)
    sae = sparse_sae()
    observer, counting = Observer(sae), CountingReconstruction(sae)
    assert observer(x) is x
    assert torch.equal(counting(x), sae.reconstruct(x))
    for statistics in (observer.statistics, counting.statistics):
        assert statistics.l0 == pytest.approx((sae.encode(x) > 0).sum(dim=1).double().mean().item())
        assert statistics.fve == pytest.approx(fve_of_numpy(x, sae.reconstruct(x)))


def test_toy_saes_have_the_statistics_they_were_made_for() -> None:
    x = torch.randn(50, D_IN)
    identity, zero = Observer(IdentitySAE()), Observer(ZeroSAE())
    identity(x), zero(x)
    assert (identity.statistics.l0, identity.statistics.fve) == (D_IN, 1)
    assert (zero.statistics.l0, zero.statistics.dead_fraction) == (0, 1)


def ratio(total: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    return total / n


def test_jackknife_of_a_mean_is_the_textbook_standard_error() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(3, 1, size=40)
    value, error = jackknife(ratio, means * 16, np.full(40, 16.0))
    assert value == pytest.approx(means.mean(), rel=1e-12)
    assert error == pytest.approx(means.std(ddof=1) / np.sqrt(40), rel=1e-9)


def test_jackknife_of_a_ratio_is_near_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(20, 200, size=60).astype(float)
    original = n * rng.normal(3.0, 0.3, size=60)
    with_sae = original + n * rng.normal(0.3, 0.05, size=60)
    adapted = original + 0.6 * (with_sae - original) + n * rng.normal(0.0, 0.02, size=60)

    def gap_closed(original: NDArray[np.float64], with_sae: NDArray[np.float64], adapted: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - (adapted - original) / (with_sae - original)

    value, error = jackknife(gap_closed, original, with_sae, adapted)
    draws = rng.integers(0, 60, size=(4000, 60))
    bootstrap = gap_closed(original[draws].sum(axis=1), with_sae[draws].sum(axis=1), adapted[draws].sum(axis=1))
    assert value == pytest.approx(0.4, abs=0.05)
    assert error == pytest.approx(bootstrap.std(), rel=0.1)


def test_pairing_makes_the_error_of_a_difference_smaller_than_the_errors_of_its_parts() -> None:
    rng = np.random.default_rng(2)
    original = rng.normal(100, 20, size=50)
    with_sae, n = original + rng.normal(5, 0.5, size=50), np.full(50, 10.0)
    _, error_of_gap = jackknife(lambda a, b, n: (a - b) / n, with_sae, original, n)
    _, error_of_part = jackknife(ratio, original, n)
    assert error_of_gap < error_of_part / 10


def test_one_sequence_has_a_value_but_no_error() -> None:
    value, error = jackknife(ratio, np.array([6.0]), np.array([4.0]))
    assert value == 1.5
    assert np.isnan(error)
