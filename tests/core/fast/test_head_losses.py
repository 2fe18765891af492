"""Per-token losses of several conditions equal the plain ones, and share the original's logits."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lorasae.core.fast import head_losses
from lorasae.core.fast.head_losses import token_losses
from lorasae.core.fast.kl_head import Head, Projection
from lorasae.core.losses import kl_divergence

TOKENS, D, VOCAB = 11, 8, 50


def world(dtype: torch.dtype, softcap: float | None) -> tuple[Head, Tensor, list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight, original, *noises = (torch.randn(n, D, generator=generator, dtype=torch.float64) for n in (VOCAB, TOKENS, TOKENS, TOKENS))
    others = [original + 0.3 * noise for noise in noises]
    next_ids = torch.randint(VOCAB, (TOKENS,), generator=generator)
    return Head((7 * weight).to(dtype), None, softcap), original.to(dtype), [other.to(dtype) for other in others], next_ids


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("n_rows", [1, 3, 100])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_both_losses_of_every_condition_equal_the_plain_ones(softcap, n_rows, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(head_losses, "rows_per_chunk", lambda _vocab, _on_gpu: n_rows)
    head, original, others, next_ids = world(dtype, softcap)
    losses = token_losses(head, original, others, next_ids)
    assert len(losses) == 3 and losses[0].kl.abs().max() == 0
    for condition, hidden in zip(losses, [original, *others], strict=True):
        logits = head.logits(hidden)
        torch.testing.assert_close(condition.ce, F.cross_entropy(logits, next_ids, reduction="none"), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(condition.kl, kl_divergence(head.logits(original), logits), rtol=tolerance, atol=tolerance)


def test_logits_far_from_zero_lose_no_precision():
    """GPT-2's lie near -100, where fp32 resolves 8e-6; the losses depend on their differences alone."""
    head, original, others, next_ids = world(torch.float32, None)
    far = Head(head.weight, torch.full((VOCAB,), -100.0), None)
    for here, there in zip(token_losses(head, original, others, next_ids), token_losses(far, original, others, next_ids), strict=True):
        torch.testing.assert_close(there.ce, here.ce, rtol=1e-5, atol=5e-5)
        torch.testing.assert_close(there.kl, here.kl, rtol=1e-5, atol=5e-5)


def test_the_originals_logits_are_made_once_for_all_conditions(monkeypatch):
    made = []
    into = Projection.into
    monkeypatch.setattr(Projection, "into", lambda self, logits, hidden: made.append(len(hidden)) or into(self, logits, hidden))
    token_losses(*world(torch.float32, 30.0))
    assert made == [TOKENS] * 3


def test_bf16_hidden_states_give_fp32_losses_and_no_gradient():
    head, original, others, next_ids = world(torch.bfloat16, 30.0)
    losses = token_losses(head, original, [other.requires_grad_() for other in others], next_ids)
    for condition, hidden in zip(losses, [original, *others], strict=True):
        assert condition.ce.dtype == torch.float32 and not condition.ce.requires_grad
        torch.testing.assert_close(condition.ce, F.cross_entropy(head.logits(hidden), next_ids, reduction="none"), rtol=1e-5, atol=1e-5)


def test_no_tokens_and_no_other_conditions_are_fine():
    head, original, _, next_ids = world(torch.float32, None)
    (alone,) = token_losses(head, original[:0], [], next_ids[:0])
    assert alone.ce.shape == alone.kl.shape == (0,)
