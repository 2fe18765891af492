"""The sparse SAE equals the plain one in value and gradient, whatever its architecture, and keeps only what is active."""

import pytest
import torch
from torch import Tensor

from lorasae.core.fast import sparse_sae
from lorasae.core.fast.active_features import ScreenedEncoder
from lorasae.core.fast.chunks import encoded_rows_per_chunk
from lorasae.core.fast.sparse_sae import FastSAE
from lorasae.core.sae import FrozenSAE, sae_from_weights
from tests.core.fast.largest import LargestResult

D_IN, D_SAE = 16, 48
ARCHITECTURES = ["standard", "jumprelu", "topk", "gated"]
NORMALISATIONS = ["none", "centred", "layer_norm", "constant_norm_rescale"]


def toy(architecture: str, dtype: torch.dtype = torch.float64, k: int = 6, threshold: float = 1.0, **options) -> FrozenSAE:
    """A random SAE; thresholds differ between features and some are negative, where only the sign decides."""
    generator = torch.Generator().manual_seed(3)
    weights = {
        "W_enc": torch.randn(D_IN, D_SAE, generator=generator, dtype=torch.float64) / 4,
        "W_dec": torch.randn(D_SAE, D_IN, generator=generator, dtype=torch.float64) / 4,
        **{name: 0.1 * torch.randn(D_SAE, generator=generator, dtype=torch.float64) for name in ("b_enc", "b_gate", "b_mag", "r_mag")},
        "b_dec": 0.1 * torch.randn(D_IN, generator=generator, dtype=torch.float64),
        "threshold": threshold * torch.linspace(-0.1, 1.9, D_SAE, dtype=torch.float64),
    }
    return sae_from_weights(architecture, {name: tensor.to(dtype) for name, tensor in weights.items()}, k=k, **options)


def stream(dtype: torch.dtype = torch.float64, *shape: int) -> Tensor:
    return torch.randn(*(shape or (3, 7)), D_IN, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype).requires_grad_()


def both(sae: FrozenSAE, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(value, gradient) of the sparse way and of the plain way."""
    results = []
    for reconstruct in (FastSAE(sae).reconstruct, sae.reconstruct):
        y = reconstruct(x)
        (gradient,) = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum(), x)
        results.append((y.detach(), gradient))
    return results


@pytest.fixture
def rows(monkeypatch) -> None:
    """Chunks of four tokens, which do not divide the 21."""
    monkeypatch.setattr(sparse_sae, "encoded_rows_per_chunk", lambda _d_sae, _on_gpu: 4)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("subtract_b_dec", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reconstruction_and_gradient_equal_the_plain_ones_in_fp64(architecture, subtract_b_dec, normalisation, rows):
    sae = toy(architecture, subtract_b_dec=subtract_b_dec, normalisation=normalisation)
    share_active = (sae.encode(stream()) > 0).double().mean()
    assert 0.05 < share_active < 0.6
    ours, theirs = both(sae, stream())
    assert theirs[1].abs().max() > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reconstruction_and_gradient_equal_the_plain_ones_in_fp32(architecture, rows):
    ours, theirs = both(toy(architecture, torch.float32), stream(torch.float32))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bf16_sae_stays_within_bf16_of_its_fp64_values(architecture, rows):
    low, x = toy(architecture, torch.bfloat16), stream(torch.bfloat16)
    (value, gradient), (plain, plain_gradient) = both(low, x)
    assert value.dtype == gradient.dtype == torch.bfloat16
    for ours, theirs in ((value, plain), (gradient, plain_gradient)):
        assert torch.cosine_similarity(ours.double().flatten(), theirs.double().flatten(), dim=0) > 0.999


@pytest.mark.parametrize("n_rows", [1, 7, 21, 100])
def test_no_chunk_shows_in_the_result(n_rows, monkeypatch):
    monkeypatch.setattr(sparse_sae, "encoded_rows_per_chunk", lambda _d_sae, _on_gpu: n_rows)
    ours, theirs = both(toy("jumprelu"), stream())
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_stream_of_another_precision_comes_back_in_the_saes(rows):
    sae, x = toy("jumprelu", torch.float32), stream(torch.bfloat16)
    ours, theirs = both(sae, x)
    assert ours[0].dtype == torch.float32 and ours[1].dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_tokens_without_an_active_feature_are_the_decoder_bias(rows):
    sae = toy("jumprelu", threshold=1000.0)
    sae.activation.threshold.fill_(1e6)
    ours, theirs = both(sae, stream())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    torch.testing.assert_close(ours[0], sae.b_dec.expand(3, 7, D_IN))


def test_topk_of_mostly_negative_pre_activations_keeps_the_positive_ones(rows):
    sae = toy("topk", k=20)
    sae.activation.b_enc -= 1.5
    ours, theirs = both(sae, stream())
    assert 0 < (sae.encode(stream()) > 0).sum(dim=-1).double().mean() < 20
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_tokens_are_fine(architecture):
    assert FastSAE(toy(architecture)).reconstruct(stream(torch.float64, 0)).shape == (0, D_IN)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk"])
def test_a_token_that_is_not_finite_does_not_pass_for_a_silent_one(architecture, broken):
    x = stream().detach()
    x[1, 2, 3] = broken
    y = FastSAE(toy(architecture)).reconstruct(x)
    assert not y[1, 2].isfinite().any() and y.isfinite().all(dim=-1).sum() == 20


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk"])
def test_of_all_tokens_by_all_features_only_the_active_are_made_or_kept(architecture, rows):
    sae, x = toy(architecture, k=3), stream(torch.float64, 40)
    n_active = int((sae.encode(x) > 0).sum())
    fast, kept = FastSAE(sae), []
    with (
        LargestResult() as largest,
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor),
    ):
        fast.reconstruct(x).sum().backward()
    assert largest.n <= max(n_active, 40 * D_IN, D_IN * D_SAE) < 40 * D_SAE
    assert max(kept) <= max(n_active, 40, D_IN * D_SAE)


def test_without_a_gradient_nothing_is_kept_and_no_copy_of_the_encoder_is_made(rows):
    fast = FastSAE(toy("jumprelu"))
    with torch.autograd.graph.saved_tensors_hooks(lambda _: pytest.fail("kept"), lambda tensor: tensor):
        assert not fast.reconstruct(stream().detach()).requires_grad
        with torch.no_grad():
            assert not fast.reconstruct(stream()).requires_grad
    assert "by_feature" not in vars(fast._encoder)


def test_an_encoder_stored_by_feature_is_not_copied():
    sae = toy("jumprelu")
    sae.W_enc = torch.nn.Buffer(sae.W_enc.T.contiguous().T)
    fast = FastSAE(sae)
    fast.reconstruct(stream()).sum().backward()
    assert fast._encoder.by_feature.data_ptr() == sae.W_enc.data_ptr()


def test_the_saes_weights_get_no_gradient_and_do_not_change(rows):
    sae = toy("jumprelu")
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    FastSAE(sae).reconstruct(stream()).sum().backward()
    assert all(torch.equal(before[name], tensor) and tensor.grad is None for name, tensor in sae.named_buffers())


def test_a_chunk_of_a_million_features_is_bounded():
    assert encoded_rows_per_chunk(2**20, False) == 64 and encoded_rows_per_chunk(2**20, True) == 256
    assert encoded_rows_per_chunk(2048, False) == 256


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk"])
def test_a_wide_sae_on_a_device_that_sums_bf16_in_fp32_is_screened_and_equal(architecture, rows, monkeypatch):
    """The device is played: its screen multiplies fp32 copies of bf16 values."""
    monkeypatch.setattr(sparse_sae, "sums_in_fp32", lambda _weight: True)
    monkeypatch.setattr(sparse_sae, "SCREENED_FROM", D_SAE)
    sae = toy(architecture, torch.float32)
    assert isinstance(FastSAE(sae)._encoder, ScreenedEncoder)
    ours, theirs = both(sae, stream(torch.float32))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
