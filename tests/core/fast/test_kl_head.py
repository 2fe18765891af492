"""The fused head and KL equal the plain ones in value and gradient, and hold no more than a chunk."""

import pytest
import torch
from torch import Tensor

from lorasae.core.fast import kl_head, products
from lorasae.core.fast.chunks import chunk_bytes, rows_per_chunk
from lorasae.core.fast.kl_head import Head, kl_sums
from lorasae.core.losses import kl_divergence
from tests.core.fast.largest import LargestResult

TOKENS, D, VOCAB = 11, 8, 50
CAPS = [None, 30.0]
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def head(softcap: float | None, dtype: torch.dtype = torch.float64, bias: bool = False) -> Head:
    """With a cap, logits reach 27 of 30, where the cap's derivative is 0.19."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(VOCAB, D, generator=generator, dtype=torch.float64) * 7
    return Head(weight.to(dtype), torch.randn(VOCAB, generator=generator).to(dtype) if bias else None, softcap)


def hiddens(n: int = 1, dtype: torch.dtype = torch.float64, tokens: int = TOKENS) -> tuple[Tensor, list[Tensor]]:
    """A teacher and n students near it."""
    generator = torch.Generator().manual_seed(2)
    teacher = torch.randn(tokens, D, generator=generator, dtype=torch.float64)
    students = [teacher + 0.3 * torch.randn(tokens, D, generator=generator, dtype=torch.float64) for _ in range(n)]
    return teacher.to(dtype), [student.to(dtype).requires_grad_() for student in students]


def plain(head: Head, teacher: Tensor, student: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Value and gradient by the reference."""
    student = student.detach().clone().requires_grad_()
    kl = kl_divergence(head.logits(teacher), head.logits(student))
    total = kl.sum() if weights is None else (kl * weights).sum()
    (gradient,) = torch.autograd.grad(total, student)
    return total.detach(), gradient


def fused(head: Head, teacher: Tensor, student: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    (total,) = kl_sums(head, teacher, [student], weights)
    (gradient,) = torch.autograd.grad(total, student)
    return total.detach(), gradient


@pytest.fixture
def rows(monkeypatch) -> None:
    """Chunks of three rows, which do not divide the tokens."""
    monkeypatch.setattr(kl_head, "rows_per_chunk", lambda _vocab, _on_gpu: 3)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("softcap", CAPS)
def test_value_and_gradient_equal_the_plain_ones_in_fp64(softcap, bias, rows):
    lm_head, (teacher, [student]) = head(softcap, bias=bias), hiddens()
    if softcap:
        assert 27 < lm_head.logits(student).abs().max() < 30
    for ours, theirs in zip(fused(lm_head, teacher, student), plain(lm_head, teacher, student), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("softcap", CAPS)
def test_value_and_gradient_equal_the_plain_ones_in_fp32(softcap, rows):
    lm_head, (teacher, [student]) = head(softcap, torch.float32), hiddens(dtype=torch.float32)
    value, gradient = fused(lm_head, teacher, student)
    expected, expected_gradient = plain(lm_head, teacher, student)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    assert (gradient - expected_gradient).norm() < 1e-5 * expected_gradient.norm()


@pytest.mark.parametrize("softcap", CAPS)
def test_bf16_hidden_states_and_weights_give_the_gradient_of_their_fp64_values(softcap, rows):
    lm_head, (teacher, [student]) = head(softcap, torch.bfloat16), hiddens(dtype=torch.bfloat16)
    value, gradient = fused(lm_head, teacher, student)
    expected, expected_gradient = plain(Head(lm_head.weight.double(), None, softcap), teacher.double(), student.double())
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=0)
    assert torch.cosine_similarity(gradient.double().flatten(), expected_gradient.flatten(), dim=0) > 0.9999


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("softcap", CAPS)
def test_where_a_device_sums_bf16_in_fp32_the_head_stays_bf16(softcap, bias, rows, monkeypatch):
    """Such a product is played here by one of fp32 copies."""
    products_made = []

    def played(out: Tensor, x: Tensor, weight: Tensor) -> None:
        products_made.append((x.dtype, weight.dtype))
        out.copy_(x.float() @ weight.float())

    monkeypatch.setattr(kl_head, "sums_in_fp32", lambda _weight: True)
    monkeypatch.setattr(kl_head, "mixed_product", played)
    lm_head, (teacher, [student]) = head(softcap, torch.bfloat16, bias), hiddens(dtype=torch.bfloat16)
    value, gradient = fused(lm_head, teacher, student)
    exact_head = Head(lm_head.weight.double(), None if lm_head.bias is None else lm_head.bias.double(), softcap)
    expected, expected_gradient = plain(exact_head, teacher.double(), student.double())
    assert set(products_made) == {(torch.bfloat16, torch.bfloat16)}
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=0)
    assert torch.cosine_similarity(gradient.double().flatten(), expected_gradient.flatten(), dim=0) > 0.9999


@pytest.mark.parametrize("n_rows", [1, 4, TOKENS, 100])
@pytest.mark.parametrize("block", [1, 7, VOCAB, 1000])
def test_no_chunk_and_no_block_of_the_vocabulary_shows_in_the_result(n_rows, block, monkeypatch):
    monkeypatch.setattr(kl_head, "rows_per_chunk", lambda _vocab, _on_gpu: n_rows)
    monkeypatch.setattr(products, "PROCESSOR_BLOCK", block)
    lm_head, (teacher, [student]) = head(30.0, bias=True), hiddens()
    for ours, theirs in zip(fused(lm_head, teacher, student), plain(lm_head, teacher, student), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_several_students_of_one_teacher_equal_each_alone_bit_for_bit(rows):
    lm_head, (teacher, students) = head(30.0, torch.float32), hiddens(3, torch.float32)
    together = kl_sums(lm_head, teacher, students)
    for total, student in zip(together, students, strict=True):
        alone, gradient = fused(lm_head, teacher, student)
        assert torch.equal(total, alone)
        assert torch.equal(torch.autograd.grad(total, student)[0], gradient)


def test_weights_of_tokens_count_in_value_and_gradient(rows):
    lm_head, (teacher, [student]) = head(30.0), hiddens()
    weights = torch.rand(TOKENS, dtype=torch.float64)
    for ours, theirs in zip(fused(lm_head, teacher, student, weights), plain(lm_head, teacher, student, weights), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_the_gradient_is_scaled_by_what_is_done_with_the_sum(rows):
    lm_head, (teacher, [student]) = head(30.0), hiddens()
    _, gradient = plain(lm_head, teacher, student)
    (total,) = kl_sums(lm_head, teacher, [student])
    (total / 7).backward()
    torch.testing.assert_close(student.grad, gradient / 7, **EXACT)


def test_a_student_equal_to_its_teacher_has_no_kl_and_no_gradient():
    lm_head, (teacher, _) = head(30.0, torch.float32), hiddens(dtype=torch.float32)
    value, gradient = fused(lm_head, teacher, teacher.clone().requires_grad_())
    assert value == 0 and gradient.abs().max() == 0


def test_no_tokens_have_no_kl_and_an_empty_gradient():
    value, gradient = fused(head(30.0), *[hiddens(tokens=0)[0], hiddens(tokens=0)[1][0]])
    assert value == 0 and gradient.shape == (0, D)


def test_neither_the_head_nor_the_teacher_gets_a_gradient(rows):
    weight = head(30.0).weight.requires_grad_()
    teacher, [student] = hiddens()
    teacher.requires_grad_()
    kl_sums(Head(weight, None, 30.0), teacher, [student])[0].backward()
    assert weight.grad is None and teacher.grad is None and student.grad is not None


def test_without_a_gradient_only_the_value_is_computed(rows, monkeypatch):
    lm_head, (teacher, [student]) = head(30.0), hiddens()
    expected, _ = plain(lm_head, teacher, student)
    monkeypatch.setattr(kl_head.Projection, "back", lambda *_: pytest.fail("a gradient was computed"))
    with torch.no_grad():
        (value,) = kl_sums(lm_head, teacher, [student])
    (frozen,) = kl_sums(lm_head, teacher, [student.detach()])
    for total in (value, frozen):
        assert not total.requires_grad
        torch.testing.assert_close(total, expected, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_tensor_of_all_tokens_by_the_vocabulary_is_made_or_kept(dtype, rows):
    lm_head, (teacher, [student]) = head(30.0, dtype, bias=True), hiddens(dtype=dtype, tokens=60)
    kept = []
    with (
        LargestResult() as largest,
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor),
    ):
        kl_sums(lm_head, teacher, [student])[0].backward()
    assert largest.n <= max(2 * 3 * VOCAB, 60 * D) < 60 * VOCAB  # two buffers are made at once
    assert kept == [60 * D]


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_chunk_has_fewer_rows_the_larger_the_vocabulary_and_its_bytes_are_bounded(on_gpu):
    rows = [rows_per_chunk(vocab, on_gpu) for vocab in (2048, 50_257, 256_000)]
    assert rows == sorted(rows, reverse=True) and rows[-1] >= 64
    assert chunk_bytes(256_000, on_gpu) <= (2**31 if on_gpu else 2**28)
    assert chunk_bytes(2048, False) <= 2**23
