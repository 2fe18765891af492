"""What a bf16 screen lets through holds every feature that is active; what comes out of it is what fp32 says, at the edge too."""

import pytest
import torch
from torch import Tensor

from lorasae.core.fast.active_features import ActiveFeatures, Encoder, Largest, ScreenedEncoder, Threshold

D_IN, D_SAE, TOKENS = 64, 512, 40


def world(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and encoder columns with norms far apart, and biases."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(TOKENS, D_IN, generator=generator) * torch.rand(TOKENS, 1, generator=generator).mul(6).exp()
    W_enc = torch.randn(D_IN, D_SAE, generator=generator) * torch.rand(D_SAE, generator=generator).mul(2).exp() / 8
    return x, W_enc, torch.randn(D_SAE, generator=generator)


def pairs(active: ActiveFeatures) -> set[tuple[int, int]]:
    """(token, feature) of everything active."""
    tokens = torch.searchsorted(active.offsets.contiguous(), torch.arange(len(active.features), dtype=torch.int32), right=True) - 1
    return set(zip(tokens.tolist(), active.features.tolist(), strict=True))


def exact(x: Tensor, W_enc: Tensor, b_enc: Tensor) -> Tensor:
    return x.double() @ W_enc.double() + b_enc.double()


def on_the_edge(x: Tensor, W_enc: Tensor, b_enc: Tensor) -> Tensor:
    """Thresholds a hair (1e-5, a hundredth of bf16's step) to one or the other side of each feature's value on some token."""
    pre = exact(x, W_enc, b_enc)
    token = torch.arange(D_SAE) % TOKENS
    side = torch.where(torch.arange(D_SAE) % 2 == 0, 1 + 1e-5, 1 - 1e-5)
    return (pre[token, torch.arange(D_SAE)].clamp(min=0.01) * side).float()


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_a_hair_from_a_pre_activation_are_decided_as_fp64_decides_them(seed):
    x, W_enc, b_enc = world(seed)
    threshold = on_the_edge(x, W_enc, b_enc)
    distance = (exact(x, W_enc, b_enc) - threshold.double()).abs()
    sure = distance > 2e-6 * x.double().norm(dim=1)[:, None] * W_enc.double().norm(dim=0)  # where fp32 itself cannot be wrong
    expected = {(t, f) for t, f in (exact(x, W_enc, b_enc) > threshold.double()).nonzero().tolist() if sure[t, f]}
    found = {(t, f) for t, f in pairs(ScreenedEncoder(W_enc, b_enc, Threshold(threshold)).active(x, 7)) if sure[t, f]}
    assert found == expected and expected
    rounded = x.bfloat16().float() @ W_enc.bfloat16().float() + b_enc
    naive = {(t, f) for t, f in (rounded > threshold).nonzero().tolist() if sure[t, f]}
    assert naive != expected  # without a second look bf16 is wrong here


@pytest.mark.parametrize("activation", ["threshold", "largest"])
def test_screened_and_plain_encoders_find_the_same_features_and_values(activation):
    x, W_enc, b_enc = world()
    rule = Threshold(torch.full((D_SAE,), 5.0)) if activation == "threshold" else Largest(12)
    plain, screened = Encoder(W_enc, b_enc, rule).active(x, 7), ScreenedEncoder(W_enc, b_enc, rule).active(x, 7)
    assert pairs(plain) == pairs(screened)
    dense = [torch.zeros(TOKENS, D_SAE), torch.zeros(TOKENS, D_SAE)]
    for room, active in zip(dense, (plain, screened), strict=True):
        for at, (token, feature) in enumerate(sorted_in_place(active)):
            room[token, feature] = active.values[at]
    torch.testing.assert_close(dense[0], dense[1], rtol=1e-5, atol=1e-4)


def sorted_in_place(active: ActiveFeatures) -> list[tuple[int, int]]:
    """(token, feature) in the order in which values are stored."""
    counts = torch.diff(active.offsets, append=torch.tensor([len(active.features)], dtype=torch.int32))
    return list(zip(torch.arange(TOKENS).repeat_interleave(counts).tolist(), active.features.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_the_k_largest_are_found_when_the_next_is_a_hair_smaller(seed):
    """Features come in pairs whose columns differ by 1e-4 of their length: bf16 cannot tell which of a pair is larger."""
    generator = torch.Generator().manual_seed(seed)
    x, W_enc, b_enc = world(seed)
    W_enc[:, 1::2] = W_enc[:, ::2] * (1 + 1e-4 * torch.randn(D_IN, D_SAE // 2, generator=generator))
    b_enc[1::2] = b_enc[::2]
    found = pairs(ScreenedEncoder(W_enc, b_enc, Largest(11)).active(x, 7))
    features = exact(x, W_enc, b_enc).topk(11, dim=1).indices
    assert found == {(token, feature) for token in range(TOKENS) for feature in features[token].tolist()}
    naive = (x.bfloat16().float() @ W_enc.bfloat16().float() + b_enc).topk(11, dim=1).indices
    assert not torch.equal(naive.sort(dim=1).values, features.sort(dim=1).values)


def screened_with_margin(x: Tensor, W_enc: Tensor, b_enc: Tensor) -> tuple[Tensor, Tensor]:
    """Error of the screen's pre-activations against fp64, and the margin it allows for."""
    seen = []

    class Spy(Threshold):
        def possibly_active(self, pre, margin):
            seen.append((pre.clone(), margin.above_(pre.clone()) - pre))
            return super().possibly_active(pre, margin)

    ScreenedEncoder(W_enc, b_enc, Spy(torch.full((W_enc.shape[1],), 5.0))).active(x, len(x))
    ((pre, margin),) = seen
    return (exact(x, W_enc, b_enc) - pre.double()).abs(), margin.double()


def test_the_margin_holds_for_every_token_and_feature_and_is_not_much_too_wide():
    x, W_enc, b_enc = world()
    error, margin = screened_with_margin(x, W_enc, b_enc)
    assert (error <= margin).all()
    assert (margin < 2.0**-7 * x.double().norm(dim=1)[:, None] * W_enc.double().norm(dim=0)).all()


@pytest.mark.parametrize("rounded", ["token", "feature"])
def test_the_margin_holds_where_rounding_does_its_worst(rounded):
    """One side is what bf16 rounds off the other, so that errors add up in one direction and the bound is all but reached."""
    x, W_enc, _ = world()
    if rounded == "token":
        W_enc = (x - x.bfloat16().float()).bfloat16().float().T.contiguous()
    else:
        x = (W_enc - W_enc.bfloat16().float()).bfloat16().float().T.contiguous()
    error, margin = screened_with_margin(x, W_enc, torch.zeros(W_enc.shape[1]))
    worst = (error / margin).diagonal()
    assert (error <= margin).all() and (worst > 0.9).all()


def test_few_candidates_are_looked_at_twice(monkeypatch):
    x, W_enc, b_enc = world()
    looked_at = []
    decided = ScreenedEncoder._decided
    monkeypatch.setattr(ScreenedEncoder, "_decided", lambda self, x, found: looked_at.append(len(found)) or decided(self, x, found))
    threshold = exact(x, W_enc, b_enc).quantile(0.97, dim=0).float().clamp(min=0.1)
    active = ScreenedEncoder(W_enc, b_enc, Threshold(threshold)).active(x, TOKENS)
    assert len(active.features) <= sum(looked_at) < 2 * len(active.features)


def test_more_candidates_than_one_piece_are_decided_the_same(monkeypatch):
    x, W_enc, b_enc = world()
    encoder = ScreenedEncoder(W_enc, b_enc, Threshold(torch.full((D_SAE,), 2.0)))
    whole = encoder.active(x, TOKENS)
    monkeypatch.setattr("lorasae.core.fast.active_features.PIECE", 5)
    assert torch.equal(whole.values, encoder.active(x, TOKENS).values)
