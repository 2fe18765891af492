"""Sparse activations say what dense ones say."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lorasae.core import firings as module
from lorasae.core.firings import Firings, correlation, firings, joined, total_change
from tests.core.toys import D_IN, IdentitySAE, ZeroSAE, sparse_sae

RNG = np.random.default_rng(0)


def dense(n_tokens: int = 40, d_sae: int = 12, share: float = 0.3) -> NDArray[np.float32]:
    acts = RNG.random((n_tokens, d_sae), dtype=np.float32) * (RNG.random((n_tokens, d_sae)) < share)
    acts[:, 3] = 0
    return acts.astype(np.float32)


def sparse(acts: NDArray[np.float32]) -> Firings:
    feature, token = acts.T.nonzero()
    return Firings(feature.astype(np.int32), token.astype(np.int32), acts.T[feature, token], *acts.shape)


@pytest.mark.parametrize("at_once", [1, 100, 2**25])
def test_what_an_sae_finds_is_found_whatever_is_encoded_at_once(monkeypatch, at_once):
    monkeypatch.setattr(module, "_ACTIVATIONS_AT_ONCE", at_once)
    sae, x, positions = sparse_sae(), torch.randn(7, D_IN), np.array([1, 2, 3, 5, 8, 9, 11])
    found = firings(sae, x, positions, 12)
    expected = np.zeros((12, sae.d_sae), dtype=np.float32)
    expected[positions] = sae.encode(x).numpy()
    np.testing.assert_allclose(found.on(range(sae.d_sae)), expected, atol=1e-6)  # another batch size rounds otherwise
    np.testing.assert_array_equal(found.fired, (expected > 0).sum(axis=0))
    np.testing.assert_allclose(found.maximum, expected.max(axis=0), atol=1e-6)
    assert (np.diff(found.feature) >= 0).all()


def test_an_sae_without_a_word_and_one_that_never_rests():
    silent = firings(ZeroSAE(), torch.randn(3, D_IN), np.arange(3), 3)
    assert silent.fired.sum() == 0 and silent.maximum.sum() == 0 and silent.of(5)[0].size == 0
    assert firings(IdentitySAE(), torch.randn(3, D_IN), np.arange(3), 3).fired.sum() == 3 * D_IN
    assert firings(IdentitySAE(), torch.empty(0, D_IN), np.arange(0), 3).fired.sum() == 0


def test_stretches_join_into_the_whole():
    acts = dense()
    parts = [sparse(np.where(np.arange(40)[:, None] % 3 == rest, acts, 0)) for rest in range(3)]
    whole, one = joined(parts, 40), sparse(acts)
    assert all(np.array_equal(getattr(whole, name), getattr(one, name)) for name in ("feature", "token", "value", "starts"))


def test_change_and_correlation_are_those_of_dense_arrays():
    before, after = dense(), dense()
    after[:, 0] = before[:, 0]
    after[:, 1] = 0
    change = total_change(sparse(before), sparse(after))
    np.testing.assert_allclose(change, np.abs(before - after).sum(axis=0), rtol=1e-5)
    assert change[0] == 0
    found = correlation(sparse(before), sparse(after), 40)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = [np.corrcoef(before[:, feature], after[:, feature])[0, 1] for feature in range(12)]
    np.testing.assert_allclose(found, expected, atol=1e-5, equal_nan=True)
    assert np.isnan(found[1]) and np.isnan(found[3]) and found[0] == pytest.approx(1)


def test_a_million_features_cost_what_fires_not_what_could():
    one = Firings(np.array([7, 999_999], np.int32), np.array([0, 1], np.int32), np.array([1.0, 2.0], np.float32), 2, 1_000_000)
    assert total_change(one, one).sum() == 0 and one.of(999_999)[1].tolist() == [2.0] and one.on([7]).tolist() == [[1.0], [0.0]]
