"""The LM head and the KL in one: the gradient is made together with the value, a chunk of tokens at a time.

The teacher's logits of a chunk are made once for all students, and no `(tokens, vocab)` tensor outlives its chunk, so that memory does not
grow with tokens. Four buffers serve every chunk. What is left of a student's pass is two products with the head (logits, and
`d KL / d hidden = (p_student - p_teacher) * d logits / d raw @ weight`) and about ten cheap sweeps between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lorasae.core.fast.chunks import rows_per_chunk
from lorasae.core.fast.products import mixed_product, product, sums_in_fp32


@dataclass(frozen=True)
class Head:
    """A frozen LM head: what turns final-normed hidden states into logits."""

    weight: Tensor  # (vocab, d)
    bias: Tensor | None = None  # (vocab,)
    softcap: float | None = None  # logits = cap * tanh(raw / cap)

    @property
    def logits_dtype(self) -> torch.dtype:
        """fp32, or the weight's precision where that is better."""
        return torch.promote_types(self.weight.dtype, torch.float32)

    def logits(self, hidden: Tensor) -> Tensor:
        """`(..., d)` -> `(..., vocab)`, soft cap applied; plain and differentiable."""
        dtype = self.logits_dtype
        raw = F.linear(hidden.to(dtype), self.weight.detach().to(dtype), None if self.bias is None else self.bias.detach().to(dtype))
        return raw if self.softcap is None else self.softcap * torch.tanh(raw / self.softcap)


def kl_sums(head: Head, teacher: Tensor, students: Sequence[Tensor], weights: Tensor | None = None) -> list[Tensor]:
    """KL(teacher || student), summed over tokens, for each of several students of one teacher.

    Args:
        head: Shared by teacher and students.
        teacher: `(tokens, d)`, final-normed hidden states of the original model; no gradient flows here. No tokens at all is fine.
        students: Each `(tokens, d)`; the gradient flows here and to nothing else.
        weights: `(tokens,)`, what each token's KL counts for in the sum; 1 if not given.

    Returns:
        A scalar for each student, nats, fp32 or better.
    """
    wanted = [torch.is_grad_enabled() and student.requires_grad for student in students]
    with torch.no_grad():
        kl, gradients = _values_and_gradients(head, teacher, students, wanted)
        if weights is not None:
            kl = kl * weights
            gradients = [None if gradient is None else gradient * weights.to(gradient.dtype)[:, None] for gradient in gradients]
        sums = kl.sum(dim=1).unbind()
    return [
        total if gradient is None else _WithGradient.apply(student, total, gradient)
        for student, total, gradient in zip(students, sums, gradients, strict=True)
    ]


class _WithGradient(torch.autograd.Function):
    """A value whose gradient with respect to one tensor is known already."""

    @staticmethod
    def forward(ctx: Any, _input: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, output_gradient: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * output_gradient.to(gradient.dtype), None, None


def _values_and_gradients(
    head: Head, teacher: Tensor, students: Sequence[Tensor], wanted: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """KL `(students, tokens)`, and for each wanted student the gradient of its sum, in the student's dtype."""
    projection = Projection(head)
    kl = torch.empty(len(students), len(teacher), dtype=head.logits_dtype, device=teacher.device)
    gradients = [torch.empty_like(student) if want else None for student, want in zip(students, wanted, strict=True)]
    rows = rows_per_chunk(len(head.weight), teacher.is_cuda)
    ours, theirs = Buffers(projection, min(rows, len(teacher))), Buffers(projection, min(rows, len(teacher)))
    for start in range(0, len(teacher), rows):
        chunk = slice(start, start + rows)
        target = ours.distribution(teacher[chunk])
        for index, (student, gradient) in enumerate(zip(students, gradients, strict=True)):
            answer = theirs.distribution(student[chunk], target)
            kl[index, chunk] = answer.kl
            if gradient is not None:
                gradient[chunk] = theirs.gradient(answer, target)
    return kl, gradients


class Projection:
    """The products with the head. bf16 weights stay bf16 where the device can add up such a product in fp32, and are raised elsewhere."""

    def __init__(self, head: Head) -> None:
        self.softcap = head.softcap
        self.logits_dtype = head.logits_dtype
        self.mixed = head.weight.dtype != head.logits_dtype and sums_in_fp32(head.weight)
        self.weight = head.weight.detach() if self.mixed else head.weight.detach().to(head.logits_dtype)
        self.bias = None if head.bias is None else head.bias.detach().to(head.logits_dtype)

    def into(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """Logits of `(rows, d)`, written into `(rows, vocab)`; with a soft cap they are shifted by it, which no softmax sees.

        cap * tanh(raw / cap) + cap = 2 cap * sigmoid(2 raw / cap), and a sigmoid costs a processor a sixth of a tanh.
        """
        scale = 1.0 if self.softcap is None else 2.0 / self.softcap
        hidden = hidden.to(self.weight.dtype)
        if self.mixed:
            mixed_product(logits, hidden, self.weight.T)
            logits.mul_(scale) if self.bias is None else logits.add_(self.bias).mul_(scale)
        else:
            product(logits, hidden, self.weight.T, self.bias, scale)
        return logits if self.softcap is None else logits.sigmoid_().mul_(2 * self.softcap)

    def back(self, probability_gap: Tensor, logits: Tensor) -> Tensor:
        """`(rows, d)`: the gap `p_student - p_teacher` through the soft cap and the head; both arguments are used up.

        With shifted logits L the cap's derivative is 1 - tanh^2 = L (2 cap - L) / cap^2 = 2 / cap * (L - L^2 / (2 cap)).
        """
        scale = 1.0
        if self.softcap is not None:
            scale = 2.0 / self.softcap
            probability_gap.mul_(logits.addcmul_(logits, logits, value=-1 / (2 * self.softcap)))
        return (probability_gap.to(self.weight.dtype) @ self.weight).mul_(scale)


@dataclass(frozen=True)
class Distribution:
    """Next-token distributions of a chunk; `log p = logits - peak_logit + peak_log_p` for every token of the vocabulary."""

    logits: Tensor  # (rows, vocab), up to a constant per row
    probabilities: Tensor  # (rows, vocab)
    peak_logit: Tensor  # (rows,)
    peak_log_p: Tensor  # (rows,)
    kl: Tensor  # (rows,) to the target, if there was one

    def cross_entropy(self, ids: Tensor) -> Tensor:
        """`(rows,)`, nats, of the tokens `ids`."""
        return self.peak_logit - self.logits.gather(1, ids[:, None]).squeeze(1) - self.peak_log_p


class Buffers:
    """Room for one chunk's logits and probabilities, used again for the next."""

    def __init__(self, projection: Projection, rows: int) -> None:
        self.projection = projection
        vocab, device = len(projection.weight), projection.weight.device
        self.logits, self.probabilities = torch.empty(2, rows, vocab, dtype=projection.logits_dtype, device=device)

    def distribution(self, hidden: Tensor, target: Distribution | None = None) -> Distribution:
        """What `hidden` `(rows, d)` predicts, and its KL to `target`; valid until the buffers are used again."""
        logits = self.projection.into(self.logits[: len(hidden)], hidden)
        probabilities = self.probabilities[: len(hidden)]
        difference = logits.new_zeros(len(hidden))
        if target is not None:  # differences first: what is added up is then as small as the KL is
            difference = torch.sub(target.logits, logits, out=probabilities).mul_(target.probabilities).sum(dim=1)
        torch.softmax(logits, dim=1, out=probabilities)
        peak_logit, peak_log_p = logits.amax(dim=1), probabilities.amax(dim=1).log()
        if target is not None:
            difference += (peak_logit - target.peak_logit) + (target.peak_log_p - peak_log_p)
        return Distribution(logits, probabilities, peak_logit, peak_log_p, difference)

    def gradient(self, answer: Distribution, target: Distribution) -> Tensor:
        """`(rows, d)`: d KL / d hidden. `answer`'s tensors are used up."""
        return self.projection.back(answer.probabilities.sub_(target.probabilities), answer.logits)
