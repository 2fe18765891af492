"""The fast step's gradient: what does not depend on the adapter is reckoned once, without a gradient, and shared.

    frozen     the stream up to the first place where adapted and original model can differ; the original model from there on (the
               teacher); the SAEs as far as no adapter lies below them
    adapted    from there on, with a gradient: what is left of the blocks, SAEs and adapter, and head and KL in one

Several adapters of one model can share one frozen part (a sweep). Equal to `core.step.ReferenceGradients` to rounding.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorasae.core.adapter import adapted_layers, adapter_parameters
from lorasae.core.fast.forward import Decoder, Insertion, Insertions, blocks_below
from lorasae.core.fast.kl_head import kl_sums
from lorasae.core.fast.maps import AdaptedMaps
from lorasae.core.fast.sparse_sae import FastSAE
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import Reduction, kl_divisor
from lorasae.core.sae import FrozenSAE
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.step import Student, n_scored_of


@dataclass(frozen=True)
class Frozen:
    """What does not depend on the adapter, of some sequences."""

    stream: Tensor  # (batch, pos, d_in): below the first block that is reckoned with a gradient, SAEs below it inserted
    teacher: Tensor  # (batch, pos, d_in): what the original model's head reads

    def rows(self, start: int, end: int) -> "Frozen":
        """Of the sequences start … end - 1."""
        return Frozen(self.stream[start:end], self.teacher[start:end])


class FastGradients:
    """`core.step.Gradients` of one model with its SAEs and its adapter, or its adapters."""

    def __init__(
        self,
        model: nn.Module,
        saes: Mapping[HookPoint, FrozenSAE],
        special_tokens: SpecialTokens,
        reduction: Reduction,
        students: Sequence[Student] = (Student(),),
    ) -> None:
        """
        Args:
            model: The model with its adapters attached.
            saes: By the places where they are inserted.
            special_tokens: Which positions are spliced and scored.
            reduction: As in `kl_divisor`.
            students: The adapters that learn; they share the frozen part below the lowest of them.

        Raises:
            NoAnatomy: If this model or adapter has no fast step; its text ends a sentence that begins with "because".
        """
        self._model = model
        self._saes = {hook_point: FastSAE(sae) for hook_point, sae in saes.items()}
        self._special_tokens = special_tokens
        self._reduction: Reduction = reduction
        self._students = tuple(students)
        self._decoder = Decoder.of(model)
        self._first_adapted = min(min(adapted_layers(model, student.adapter)) for student in students)
        self._shared = min([self._first_adapted, *map(blocks_below, saes)])
        for student in self._students:
            AdaptedMaps(model, student.adapter)  # refuses what it cannot do

    def frozen(self, ids: Tensor) -> Frozen:
        """What does not depend on any adapter, of sequences `(batch, pos)`; a pure function of each sequence up to rounding."""
        with torch.no_grad():
            n_layers = self._decoder.n_layers
            shared = self._decoder.through(self._decoder.embedded(ids), 0, self._shared)
            teacher = self._decoder.final(self._decoder.through(shared, self._shared, n_layers))
            insertions = self._insertions(ids)
            stream = insertions.border(self._shared, shared)
            stream = self._decoder.through(stream, self._shared, self._first_adapted, insertions=insertions)
            return Frozen(stream, teacher)

    def accumulate(self, micro_batches: Sequence[Tensor], frozen: Sequence[Frozen] | None = None) -> float:
        """As in `core.step.Gradients`, of the one adapter; `frozen`, of each micro-batch, if it is there already."""
        (kl,) = self.accumulate_each(micro_batches, frozen)
        return kl

    def accumulate_each(self, micro_batches: Sequence[Tensor], frozen: Sequence[Frozen] | None = None) -> list[float]:
        """Add to every adapter the gradient it would get alone; their parameters can be trained from then on. Returns each one's KL in nats
        per scored token."""
        n_scored = n_scored_of(micro_batches, self._special_tokens)
        divisor = kl_divisor(self._reduction, n_scored, sum(len(ids) for ids in micro_batches))
        maps = [self._learning(student) for student in self._students]
        totals = torch.zeros(len(self._students), dtype=torch.float64, device=n_scored.device)
        for index, ids in enumerate(micro_batches):
            known = frozen[index] if frozen else self.frozen(ids)
            kls = torch.stack(self._kl_sums(ids, known, maps))
            (kls.sum() / divisor).backward()
            totals += kls.detach()
        return (totals / n_scored.clamp(min=1)).tolist()  # the step's one wait for the device

    def _learning(self, student: Student) -> AdaptedMaps:
        for parameter in adapter_parameters(self._model, student.adapter):
            parameter.requires_grad_(True)  # PEFT lets only the adapter in use learn
        return AdaptedMaps(self._model, student.adapter)

    def _kl_sums(self, ids: Tensor, frozen: Frozen, maps: Sequence[AdaptedMaps]) -> list[Tensor]:
        """Of each adapter: the KL summed over the scored positions, with its gradient."""
        insertions = self._insertions(ids)
        hidden = []
        for student, its_maps in zip(self._students, maps, strict=True):
            with student.randomness.in_use() if student.randomness else nullcontext():
                stream = self._decoder.through(frozen.stream, self._first_adapted, self._decoder.n_layers, its_maps, insertions)
            hidden.append(self._decoder.final(stream).flatten(0, 1))
        return kl_sums(self._decoder.head, frozen.teacher.flatten(0, 1), hidden, self._special_tokens.scored_positions(ids).flatten())

    def _insertions(self, ids: Tensor) -> Insertions:
        spliced = self._special_tokens.spliced_positions(ids)[..., None]
        return Insertions({hook_point: _inserted(sae, spliced) for hook_point, sae in self._saes.items()})


def _inserted(sae: FastSAE, spliced: Tensor) -> Insertion:
    def insertion(stream: Tensor) -> Tensor:
        return torch.where(spliced, sae.reconstruct(stream.flatten(0, 1)).view_as(stream).to(stream.dtype), stream)

    return insertion
