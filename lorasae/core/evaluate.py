"""What the SAE costs and how much the adapter gives back: all conditions, measured on the same held-out text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from lorasae.core.adapter import evaluating
from lorasae.core.conditions import ALL, Condition
from lorasae.core.fast.anatomy import NoAnatomy
from lorasae.core.fast.shared_pass import SharedPass
from lorasae.core.hook_points import HookPoint
from lorasae.core.plain_pass import Pass, PlainPass
from lorasae.core.sae import SparseAutoencoder
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform
from lorasae.core.statistics import CountingReconstruction, Observer, PerSequence, SiteStatistics, jackknife


@dataclass
class Measurement:
    """Per-sequence sums of every condition, from which all metrics follow, and what the SAEs did."""

    ce_sums: dict[str, PerSequence]  # condition -> nats over scored predictions
    kl_sums: dict[str, PerSequence]  # condition -> nats over scored positions, KL to the original
    n_predictions: PerSequence  # scored positions with a next token in the chunk
    n_positions: PerSequence  # scored positions
    sites: dict[HookPoint, SiteStatistics]  # on the original model's stream
    adapted_sites: dict[HookPoint, SiteStatistics] = field(default_factory=dict)  # on the adapted model's, SAEs inserted

    def metrics(self) -> dict[str, tuple[float, float]]:
        """Metric key -> (value, standard error over sequences). `metrics.METRICS` says what each key means."""
        rows = {f"ce_{name}": jackknife(_ratio, sums, self.n_predictions) for name, sums in self.ce_sums.items()}
        rows |= {f"kl_{name}": jackknife(_ratio, sums, self.n_positions) for name, sums in self.kl_sums.items()}
        ce = self.ce_sums
        if "original_sae" in ce:
            rows["ce_gap_before"] = self._gap("original_sae")
        if "adapted_sae" in ce:
            rows["ce_gap_after"] = self._gap("adapted_sae")
        if "adapted" in ce:
            rows["ce_change_adapted"] = self._gap("adapted")
        if "original_sae" in ce and "adapted_sae" in ce:
            rows["gap_closed"] = jackknife(_gap_closed, ce["original"], ce["original_sae"], ce["adapted_sae"])
        if "zero" in ce:
            for name in ("original_sae", "adapted_sae"):
                if name in ce:
                    rows[f"loss_recovered_{name}"] = jackknife(_loss_recovered, ce["original"], ce[name], ce["zero"])
        return rows

    def _gap(self, name: str) -> tuple[float, float]:
        return jackknife(
            lambda with_sae, without, n: (with_sae - without) / n, self.ce_sums[name], self.ce_sums["original"], self.n_predictions
        )


def measure(
    model: nn.Module,
    batches: Iterable[Tensor],
    saes: Mapping[HookPoint, SparseAutoencoder],
    special_tokens: SpecialTokens,
    conditions: Sequence[Condition] = ALL,
    way: Pass | None = None,
) -> Measurement:
    """Measure the conditions on token batches `(batch, pos)`. `original` is always among them: everything is relative to it.

    L0, variance explained and dead features are taken where the publisher takes them, on the original model's stream, and again under
    `adapted_sae`, where adapters below an SAE (or SAEs below it) have changed what it reads. The way is the one that shares most, unless
    another is given.
    """
    way = way or _pass(model, saes, special_tokens)
    observers = {hook_point: Observer(sae) for hook_point, sae in saes.items()}
    counting = {hook_point: CountingReconstruction(sae) for hook_point, sae in saes.items()}
    inserted: dict[Condition, Mapping[HookPoint, Transform]] = {
        "original": observers,
        "original_sae": {hook_point: sae.reconstruct for hook_point, sae in saes.items()},
        "adapted_sae": counting,
        "adapted": {},
        "zero": dict.fromkeys(saes, torch.zeros_like),
    }
    names: list[Condition] = ["original", *(name for name in conditions if name != "original")]
    ce: dict[str, list[Tensor]] = {name: [] for name in names}
    kl: dict[str, list[Tensor]] = {name: [] for name in names if name not in ("original", "zero")}
    n_predictions, n_positions = [], []

    with torch.no_grad(), evaluating(model):
        for ids in batches:
            scored = special_tokens.scored_positions(ids)
            n_positions.append(scored.sum(dim=1))
            n_predictions.append(scored[:, :-1].sum(dim=1))
            for name, losses in way.losses(ids, {name: inserted[name] for name in names}).items():
                ce[name].append(_scored_sum(losses.ce, scored[:, :-1]))
                if name in kl:
                    kl[name].append(_scored_sum(losses.kl, scored))

    return Measurement(
        ce_sums={name: _per_sequence(sums) for name, sums in ce.items()},
        kl_sums={name: _per_sequence(sums) for name, sums in kl.items()},
        n_predictions=_per_sequence(n_predictions),
        n_positions=_per_sequence(n_positions),
        sites={hook_point: observer.statistics for hook_point, observer in observers.items()},
        adapted_sites={hook_point: counter.statistics for hook_point, counter in counting.items() if counter.statistics.n_tokens},
    )


def _pass(model: nn.Module, saes: Mapping[HookPoint, SparseAutoencoder], special_tokens: SpecialTokens) -> Pass:
    try:
        return SharedPass(model, saes, special_tokens)
    except NoAnatomy:
        return PlainPass(model, special_tokens)


def _scored_sum(per_token: Tensor, scored: Tensor) -> Tensor:
    """Sum of each sequence over its scored positions, whatever stands at the others."""
    return per_token.masked_fill(~scored, 0.0).sum(dim=1)


def _per_sequence(batches: Sequence[Tensor]) -> PerSequence:
    return torch.cat(list(batches)).to("cpu", torch.float64).numpy()


def _ratio(total: PerSequence, n: PerSequence) -> PerSequence:
    return total / n


def _gap_closed(original: PerSequence, original_sae: PerSequence, adapted_sae: PerSequence) -> PerSequence:
    """1 - gap after / gap before; nan where the SAE costs nothing, because then there is nothing to close."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - (adapted_sae - original) / np.where(original_sae == original, np.nan, original_sae - original)


def _loss_recovered(original: PerSequence, with_sae: PerSequence, zero: PerSequence) -> PerSequence:
    """(zero - with SAE) / (zero - original): 1 if the SAE costs nothing, 0 if it is as bad as deleting the stream."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (zero - with_sae) / np.where(zero == original, np.nan, zero - original)
