"""One optimizer step, plain and obviously right: the reference that any faster step must equal to rounding.

1. The original model (adapter off, no SAE, no dropout) answers: the teacher.
2. The adapted model with the SAEs in its stream answers: the student.
3. KL(teacher || student), over scored positions, flows back into the adapter; micro-batches add up to the step's loss exactly,
   because each is divided by the count of the whole step and not by its own.
4. The gradient is clipped and AdamW moves the adapter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lorasae.core.adapter import adapter_off, evaluating, train_adapter_only
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import Reduction, kl_divergence, kl_divisor
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform, spliced

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class StepOutcome:
    """What one step measured."""

    kl: float  # nats per scored token
    gradient_norm: float  # before clipping
    finite: bool  # False: the adapter was left as it was


def accumulate_gradients(
    model: nn.Module,
    micro_batches: Sequence[Tensor],
    transforms: Mapping[HookPoint, Transform],
    special_tokens: SpecialTokens,
    reduction: Reduction,
) -> float:
    """Add the gradient of one step's loss to the adapter and return the step's KL in nats per scored token.

    Args:
        model: The model with its adapter attached.
        micro_batches: Token ids, each `(micro_batch, pos)`; together they are the step.
        transforms: The SAEs' `reconstruct` at their hook points.
        special_tokens: Which positions are spliced and scored.
        reduction: As in `kl_divisor`.
    """
    n_scored = sum(int(special_tokens.scored_positions(ids).sum()) for ids in micro_batches)
    divisor = kl_divisor(reduction, n_scored, sum(len(ids) for ids in micro_batches))
    total = 0.0
    for ids in micro_batches:
        kl_sum = _student_kl(model, ids, transforms, special_tokens)
        (kl_sum / divisor).backward()
        total += kl_sum.item()
    return total / max(1, n_scored)


def _student_kl(model: nn.Module, ids: Tensor, transforms: Mapping[HookPoint, Transform], special_tokens: SpecialTokens) -> Tensor:
    """Sum of the KL over the scored positions of one micro-batch, with gradients to the adapter."""
    with torch.no_grad(), adapter_off(model), evaluating(model):
        teacher_logits = model(input_ids=ids, use_cache=False).logits
    with spliced(model, transforms, special_tokens):
        student_logits = model(input_ids=ids, use_cache=False).logits
    return kl_divergence(teacher_logits, student_logits)[special_tokens.scored_positions(ids)].sum()


def reference_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Tensor],
    transforms: Mapping[HookPoint, Transform],
    special_tokens: SpecialTokens,
    *,
    learning_rate: float,
    gradient_clip: float | None,
    reduction: Reduction,
) -> StepOutcome:
    """One whole optimizer step. A loss or gradient that is not finite leaves adapter and optimizer untouched."""
    train_adapter_only(model)
    optimizer.zero_grad(set_to_none=True)
    kl = accumulate_gradients(model, micro_batches, transforms, special_tokens, reduction)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if gradient_clip is None else gradient_clip).item()
    finite = math.isfinite(kl) and math.isfinite(norm)
    if finite:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
    return StepOutcome(kl, norm, finite)


def learning_rate_at(step: int, n_steps: int, peak: float, schedule: Schedule, warmup_fraction: float) -> float:
    """The learning rate of step 0 … n_steps - 1: a linear warm-up to `peak`, then the schedule; cosine and linear approach zero."""
    warmup = round(warmup_fraction * n_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, n_steps - warmup)
    if schedule == "constant":
        return peak
    return peak * (1 - progress) if schedule == "linear" else peak * 0.5 * (1 + math.cos(math.pi * progress))
