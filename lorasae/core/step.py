"""One optimizer step, plain and obviously right: the reference that any faster step must equal to rounding.

1. The original model (adapter off, no SAE, no dropout) answers: the teacher.
2. The adapted model with the SAEs in its stream answers: the student.
3. KL(teacher || student), over scored positions, flows back into the adapter; micro-batches add up to the step's loss exactly,
   because each is divided by the count of the whole step and not by its own.
4. The gradient is clipped and AdamW moves the adapter.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from lorasae.core.adapter import ALONE, adapter_off, evaluating, in_use, train_adapter_only
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import Reduction, kl_divergence, kl_divisor
from lorasae.core.randomness import Randomness
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform, spliced

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class StepOutcome:
    """What one step measured."""

    kl: float  # nats per scored token
    gradient_norm: float  # before clipping
    finite: bool  # False: the adapter was left as it was


class Gradients(Protocol):
    """A way to the gradient of one step. The reference below is plain; a faster one must equal it to rounding."""

    def accumulate(self, micro_batches: Sequence[Tensor]) -> float:
        """Add the gradient of one step's loss to the adapter and return the step's KL in nats per scored token.

        Args:
            micro_batches: Token ids, each `(micro_batch, pos)`; together they are the step.
        """
        ...


def n_scored_of(micro_batches: Sequence[Tensor], special_tokens: SpecialTokens) -> Tensor:
    """How many positions of a step are scored; a scalar on its device."""
    return torch.stack([special_tokens.scored_positions(ids).sum() for ids in micro_batches]).sum()


@dataclass(frozen=True)
class ReferenceGradients:
    """Two full forward passes of the model as it is, one of them with hooks, and autograd."""

    model: nn.Module  # with its adapter attached
    transforms: Mapping[HookPoint, Transform]  # the SAEs' `reconstruct` at their hook points
    special_tokens: SpecialTokens  # which positions are spliced and scored
    reduction: Reduction  # as in `kl_divisor`

    def accumulate(self, micro_batches: Sequence[Tensor]) -> float:
        """As in Gradients."""
        train_adapter_only(self.model)
        n_scored = n_scored_of(micro_batches, self.special_tokens)
        divisor = kl_divisor(self.reduction, n_scored, sum(len(ids) for ids in micro_batches))
        total = torch.zeros_like(n_scored, dtype=torch.float64)
        for ids in micro_batches:
            kl_sum = self._student_kl(ids)
            (kl_sum / divisor).backward()
            total += kl_sum.detach()
        return (total / n_scored.clamp(min=1)).item()

    def _student_kl(self, ids: Tensor) -> Tensor:
        """Sum of the KL over the scored positions of one micro-batch, with gradients to the adapter."""
        with torch.no_grad(), adapter_off(self.model), evaluating(self.model):
            teacher_logits = self.model(input_ids=ids, use_cache=False).logits
        with spliced(self.model, self.transforms, self.special_tokens):
            student_logits = self.model(input_ids=ids, use_cache=False).logits
        return kl_divergence(teacher_logits, student_logits)[self.special_tokens.scored_positions(ids)].sum()


@dataclass(frozen=True)
class Student:
    """One adapter that learns."""

    adapter: str = ALONE
    randomness: Randomness | None = None  # its own stream for dropout; None: torch's global one


class GradientsOfEach(Protocol):
    """A way to the gradients of several adapters of one model, each the one that it would get alone."""

    def accumulate_each(self, micro_batches: Sequence[Tensor]) -> list[float]:
        """Add to every adapter its gradient of one step, as in Gradients, and return the KL of each."""
        ...


@dataclass(frozen=True)
class ReferenceOfEach:
    """One adapter after the other."""

    reference: ReferenceGradients
    students: Sequence[Student]

    def accumulate_each(self, micro_batches: Sequence[Tensor]) -> list[float]:
        """As in GradientsOfEach."""
        return [self._of(student, micro_batches) for student in self.students]

    def _of(self, student: Student, micro_batches: Sequence[Tensor]) -> float:
        with in_use(self.reference.model, student.adapter), student.randomness.in_use() if student.randomness else nullcontext():
            return self.reference.accumulate(micro_batches)


def optimizer_step(
    gradients: Gradients,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Tensor],
    *,
    learning_rate: float,
    gradient_clip: float | None,
) -> StepOutcome:
    """One whole optimizer step. A loss or gradient that is not finite leaves adapter and optimizer untouched."""
    optimizer.zero_grad(set_to_none=True)
    kl = gradients.accumulate(micro_batches)
    return moved(optimizer, kl, learning_rate=learning_rate, gradient_clip=gradient_clip)


def moved(optimizer: torch.optim.Optimizer, kl: float, *, learning_rate: float, gradient_clip: float | None) -> StepOutcome:
    """Clip the gradient that was accumulated and move the adapter by it, if it and the loss are finite."""
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
