"""The two losses of the method, per token in nats, in fp32 or better whatever the model's precision."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["mean", "sum"]


def kl_divergence(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """KL(teacher || student) at every position: how far the student's next-token distribution is from the teacher's.

    Args:
        teacher_logits: `(batch, pos, vocab)`, soft cap applied.
        student_logits: Same shape.

    Returns:
        `(batch, pos)`, nats, >= 0 up to rounding. bf16 logits are raised to fp32 first: at log p = -10 bf16 resolves 1/16 nat.
    """
    teacher = log_probabilities(teacher_logits)
    return (teacher.exp() * (teacher - log_probabilities(student_logits))).sum(dim=-1)


def next_token_ce(logits: Tensor, ids: Tensor) -> Tensor:
    """Cross-entropy of the token that really came next.

    Args:
        logits: `(batch, pos, vocab)`.
        ids: `(batch, pos)`.

    Returns:
        `(batch, pos - 1)`, nats: entry t scores the prediction made at position t for token t + 1.
    """
    return F.cross_entropy(_at_least_fp32(logits[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(ids.shape[0], -1)


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-softmax over the vocabulary in fp32 or better."""
    return F.log_softmax(_at_least_fp32(logits), dim=-1)


def _at_least_fp32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def kl_divisor(reduction: Reduction, n_scored: Tensor, n_sequences: int) -> Tensor:
    """What the summed KL of a step is divided by; a scalar where `n_scored` is, so that no device has to be waited for.

    mean: nats per scored token, the same whatever the context length. sum: the authors' `batchmean`, a sum over positions and a mean over
    sequences, about a thousand times larger, which their gradient clip at 1.0 then turns into a step of fixed length.
    """
    return (n_scored if reduction == "mean" else torch.full_like(n_scored, n_sequences)).clamp(min=1)
