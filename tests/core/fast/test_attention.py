"""Our attention against the plain one: all scores, a mask, a softmax, and autograd."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from lorasae.core.fast import attention as blocked
from lorasae.core.fast.attention import QUERY_BLOCK, causal_attention

WINDOWS = [None, 1, 5, QUERY_BLOCK, QUERY_BLOCK + 30, 1000]
CAPS = [None, 50.0, 3.0]  # the last is bent hard: scores here reach about 30


def visible(pos: int, window: int | None) -> Tensor:
    query, key = torch.arange(pos)[:, None], torch.arange(pos)[None, :]
    seen = key <= query
    return seen if window is None else seen & (key > query - window)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    group = q.shape[1] // k.shape[1]
    scores = q @ k.repeat_interleave(group, dim=1).transpose(2, 3) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~visible(q.shape[2], window), -torch.inf)
    return torch.softmax(scores, dim=-1) @ v.repeat_interleave(group, dim=1)


def inputs(pos: int, group: int = 2, dtype: torch.dtype = torch.float64, head_dim: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and a gradient of the output, lying in memory as the projections of a model leave them."""
    generator = torch.Generator().manual_seed(pos)
    q, k, v, d_out = (
        torch.randn(2, pos, heads, head_dim, generator=generator, dtype=torch.float64).to(dtype).transpose(1, 2)
        for heads in (2 * group, 2, 2, 2 * group)
    )
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), d_out


def assert_same(pos: int, softcap: float | None, window: int | None, *, group: int = 2, tolerance: float, dtype: torch.dtype) -> None:
    """Output and all three gradients, held against the plain attention in float64."""
    q, k, v, d_out = inputs(pos, group, dtype)
    out = causal_attention(q, k, v, scale=2.0, softcap=softcap, window=window)
    assert out.dtype == dtype and out.shape == q.shape
    found = [out, *torch.autograd.grad(out, (q, k, v), d_out)]
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    right_out = plain_attention(*exact, scale=2.0, softcap=softcap, window=window)
    right = [right_out, *torch.autograd.grad(right_out, exact, d_out.double())]
    for name, mine, theirs in zip("oqkv", found, right, strict=True):
        assert mine.dtype == dtype
        assert (mine.double() - theirs).norm() <= tolerance * max(theirs.norm(), d_out.double().norm()), (
            name
        )  # a window of 1 has no gradient in q


@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("pos", [QUERY_BLOCK - 5, 2 * QUERY_BLOCK, 2 * QUERY_BLOCK + 33])
def test_output_and_gradients_are_the_plain_ones_in_float64(pos: int, window: int | None, softcap: float | None) -> None:
    assert_same(pos, softcap, window, tolerance=1e-12, dtype=torch.float64)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_queries_of_a_group_read_the_same_key_head(group: int) -> None:
    assert_same(QUERY_BLOCK + 7, 50.0, 20, group=group, tolerance=1e-12, dtype=torch.float64)


@pytest.mark.parametrize("softcap", CAPS)
def test_a_single_token_reads_itself(softcap: float | None) -> None:
    q, k, v, d_out = inputs(pos=1)
    out = causal_attention(q, k, v, scale=1.0, softcap=softcap)
    assert torch.equal(out, v.repeat_interleave(2, dim=1))
    d_q, d_k, d_v = torch.autograd.grad(out, (q, k, v), d_out)
    assert d_q.abs().max() < 1e-14 and d_k.abs().max() < 1e-14
    torch.testing.assert_close(d_v, d_out.unflatten(1, (2, 2)).sum(2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("softcap", CAPS)
def test_float32_is_right_to_its_rounding(window: int | None, softcap: float | None) -> None:
    assert_same(2 * QUERY_BLOCK + 33, softcap, window, tolerance=1e-5, dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("softcap", CAPS)
def test_sixteen_bits_point_where_float64_does(softcap: float | None, dtype: torch.dtype) -> None:
    q, k, v, d_out = inputs(pos=2 * QUERY_BLOCK + 33, dtype=dtype, head_dim=32)
    scale = 32**-0.5
    out = causal_attention(q, k, v, scale=scale, softcap=softcap)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    right = plain_attention(*exact, scale=scale, softcap=softcap)
    pairs = zip(
        [out, *torch.autograd.grad(out, (q, k, v), d_out)], [right, *torch.autograd.grad(right, exact, d_out.double())], strict=True
    )
    for mine, theirs in pairs:
        assert mine.dtype == dtype
        assert torch.cosine_similarity(mine.double().flatten(), theirs.flatten(), dim=0) >= 0.999


def test_sums_over_many_blocks_lose_nothing_in_sixteen_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 blocks add to the first keys' gradients: kept in bf16 the sums would err by 2 %, in fp32 they err as one rounding does."""
    monkeypatch.setattr(blocked, "QUERY_BLOCK", 8)
    generator = torch.Generator().manual_seed(0)
    q, k, v, d_out = ((torch.randn(1, 2, 1024, 16, generator=generator) + shift).bfloat16() for shift in (1.0, 0.0, 0.5, 0.5))

    def gradients(dtype: torch.dtype) -> tuple[Tensor, ...]:
        given = [x.to(dtype).requires_grad_() for x in (q, 0.3 * k, v)]
        return torch.autograd.grad(causal_attention(*given, scale=0.25, softcap=5.0), given, d_out.to(dtype))

    for name, found, exact in zip("qkv", gradients(torch.bfloat16), gradients(torch.float64), strict=True):
        assert (found.double() - exact).norm() < 2**-7 * exact.norm(), name


@pytest.mark.parametrize("softcap", [None, 50.0, 300.0])
def test_scores_in_the_thousands_do_not_overflow(softcap: float | None) -> None:
    q, k, v, d_out = inputs(pos=QUERY_BLOCK + 7, dtype=torch.float32)
    out = causal_attention(q, k, v, scale=1000.0, softcap=softcap)
    assert all(x.isfinite().all() for x in (out, *torch.autograd.grad(out, (q, k, v), d_out)))


def test_a_future_token_with_a_huge_score_does_not_drown_the_past() -> None:
    """A maximum taken over what the mask hides would leave nothing of it."""
    q, k, v, _ = inputs(pos=4, dtype=torch.float32)
    with torch.no_grad():
        q.fill_(1.0)
        k.zero_()
        k[:, :, 3] = 1000.0
        out = causal_attention(q, k, v, scale=1.0)
    torch.testing.assert_close(out[:, :, 2], v[:, :, :3].mean(2).repeat_interleave(2, dim=1))


@pytest.mark.parametrize("softcap", [None, 4.0])
def test_finite_differences_agree_with_the_gradient(softcap: float | None) -> None:
    q, k, v, _ = inputs(pos=6, head_dim=3)
    assert torch.autograd.gradcheck(lambda *x: causal_attention(*x, scale=0.7, softcap=softcap, window=4), (q, k, v))


@pytest.mark.parametrize("softcap", [None, 50.0])
def test_without_gradients_the_answer_is_the_same_and_nothing_is_kept(softcap: float | None) -> None:
    q, k, v, _ = inputs(pos=QUERY_BLOCK + 7, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        with torch.no_grad():
            out = causal_attention(q, k, v, scale=0.3, softcap=softcap, window=50)
        assert not out.requires_grad and not kept
        tracked = causal_attention(q, k, v, scale=0.3, softcap=softcap, window=50)
    assert tracked.requires_grad and kept
    assert torch.equal(out, tracked)


def test_no_token_sees_its_future_and_none_beyond_its_window() -> None:
    q, k, v, _ = inputs(pos=QUERY_BLOCK + 7)
    changed = v.detach().clone()
    changed[:, :, 20] += 1.0
    difference = causal_attention(q, k, changed, scale=1.0, window=30) - causal_attention(q, k, v, scale=1.0, window=30)
    moved = difference.abs().amax(dim=(0, 1, 3)) > 0
    assert moved.nonzero().flatten().tolist() == list(range(20, 50))


def test_output_and_gradients_lie_as_the_projections_want_them() -> None:
    """`(batch, pos, heads · head_dim)` is a view of them; shown with the shapes of Gemma 2 27B, without its memory."""
    with torch.device("meta"):
        q, k, v = (torch.empty(2, 8192, heads, 128, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for heads in (32, 16, 16))
        out = causal_attention(q, k, v, scale=0.1, softcap=50.0, window=4096)
        d_q, d_k, d_v = torch.autograd.grad(out, (q, k, v), torch.empty_like(out))
    assert out.transpose(1, 2).is_contiguous() and d_q.transpose(1, 2).is_contiguous()
    assert (d_q.shape, d_k.shape, d_v.shape) == (q.shape, k.shape, v.shape)
    assert {x.dtype for x in (out, d_q, d_k, d_v)} == {torch.bfloat16}


@pytest.mark.parametrize("window", [None, 9])
def test_it_is_the_attention_that_transformers_computes_for_gemma_2(window: int | None) -> None:
    q, k, v, d_out = inputs(pos=70, dtype=torch.float32)
    mask = torch.zeros(70, 70).masked_fill(~visible(70, window), torch.finfo(torch.float32).min)[None, None]
    module = SimpleNamespace(num_key_value_groups=2, training=False)
    theirs = eager_attention_forward(module, q, k, v, mask, scaling=0.5, softcap=3.0)[0].transpose(1, 2)
    mine = causal_attention(q, k, v, scale=0.5, softcap=3.0, window=window)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    for a, b in zip(torch.autograd.grad(mine, (q, k, v), d_out), torch.autograd.grad(theirs, (q, k, v), d_out), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
