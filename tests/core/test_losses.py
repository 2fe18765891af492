"""The two losses, against cases worked by hand and against float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from lorasae.core.losses import kl_divergence, kl_divisor, log_probabilities, next_token_ce


def test_kl_of_equal_logits_is_zero() -> None:
    logits = torch.randn(2, 5, 64)
    assert kl_divergence(logits, logits.clone()).abs().max() == 0


def test_kl_does_not_change_when_a_constant_is_added_to_all_logits() -> None:
    teacher, student = torch.randn(2, 1, 5, 64, dtype=torch.float64)
    shifted = kl_divergence(teacher + 7, student - 3)
    torch.testing.assert_close(shifted, kl_divergence(teacher, student), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_kl_is_not_negative(scale: float) -> None:
    teacher, student = scale * torch.randn(2, 3, 7, 64)
    assert kl_divergence(teacher, student).min() > -1e-6


def test_kl_of_two_positions_over_three_tokens_is_the_one_worked_by_hand() -> None:
    """Teacher p = (1/2, 1/4, 1/4) at both positions, student q = (1/4, 1/2, 1/4), then q = (1/3, 1/3, 1/3).

    first:  1/2 ln(1/2 : 1/4) + 1/4 ln(1/4 : 1/2) + 1/4 ln(1/4 : 1/4) = 1/2 ln 2 - 1/4 ln 2 + 0     = 1/4 ln 2       = 0.17329
    second: 1/2 ln(3/2) + 1/4 ln(3/4) + 1/4 ln(3/4) = 1/2 ln(3/2 * 3/4) = 1/2 ln(9/8)                                = 0.05889
    The other direction, KL(student || teacher), is 0.17329 and 1/3 ln(2/3 * 4/3 * 4/3) = 1/3 ln(32/27) = 0.05663: the second position
    tells the two apart.
    """
    teacher = torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]], dtype=torch.float64).log()
    student = torch.tensor([[[0.25, 0.5, 0.25], [1 / 3, 1 / 3, 1 / 3]]], dtype=torch.float64).log()
    expected = torch.tensor([[0.25 * math.log(2), 0.5 * math.log(9 / 8)]], dtype=torch.float64)
    torch.testing.assert_close(kl_divergence(teacher, student), expected, rtol=1e-14, atol=1e-15)


def test_bf16_logits_are_raised_to_fp32_before_the_softmax() -> None:
    """The authors' softmax runs in bf16, which resolves 1/16 nat at log p = -10: near convergence that KL is mostly noise."""
    teacher = 3 * torch.randn(1, 64, 4096)
    student = (teacher + 0.03 * torch.randn_like(teacher)).bfloat16()
    teacher = teacher.bfloat16()
    log_p, log_q = F.log_softmax(teacher.double(), dim=-1), F.log_softmax(student.double(), dim=-1)
    truth = (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()

    ours = kl_divergence(teacher, student)
    naive = (F.softmax(teacher, dim=-1) * (F.log_softmax(teacher, dim=-1) - F.log_softmax(student, dim=-1))).sum(dim=-1).double().mean()
    assert ours.dtype == torch.float32
    assert (ours.double().mean() - truth).abs() / truth < 1e-3
    assert (naive - truth).abs() / truth > 0.05


def test_float64_logits_stay_float64() -> None:
    assert log_probabilities(torch.randn(1, 2, 3, dtype=torch.float64)).dtype == torch.float64


def test_cross_entropy_of_two_predictions_over_three_tokens_is_the_one_worked_by_hand() -> None:
    """Tokens 0 1 2. Position 0 gives token 1 p = 1/4: ln 4. Position 1 gives token 2 p = 1/2: ln 2. Position 2 predicts nothing known."""
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [1e-9, 1.0, 1e-9]]], dtype=torch.float64).log()
    ce = next_token_ce(logits, torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(ce, torch.tensor([[math.log(4), math.log(2)]], dtype=torch.float64))


def test_cross_entropy_keeps_sequences_apart() -> None:
    logits, ids = torch.randn(3, 5, 11), torch.randint(11, (3, 5))
    log_p = logits.log_softmax(dim=-1)
    expected = torch.tensor([[-log_p[row, t, ids[row, t + 1]] for t in range(4)] for row in range(3)])
    torch.testing.assert_close(next_token_ce(logits, ids), expected)


def test_cross_entropy_of_bf16_logits_is_fp32() -> None:
    assert next_token_ce(torch.randn(1, 3, 5).bfloat16(), torch.tensor([[0, 1, 2]])).dtype == torch.float32


def test_divisors_are_tokens_for_mean_and_sequences_for_sum_and_never_zero() -> None:
    assert kl_divisor("mean", n_scored=torch.tensor(30), n_sequences=4) == 30
    assert kl_divisor("sum", n_scored=torch.tensor(30), n_sequences=4) == 4
    assert kl_divisor("mean", n_scored=torch.tensor(0), n_sequences=4) == 1
