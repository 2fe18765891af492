"""What the SAE's features and the model's predictions do on one text, condition by condition."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorasae.core.adapter import evaluating
from lorasae.core.evaluate import Condition, condition
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import kl_divergence, next_token_ce
from lorasae.core.sae import SparseAutoencoder
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform


@dataclass(frozen=True)
class TextActivity:
    """One text of `pos` tokens under one condition."""

    feature_acts: dict[HookPoint, Tensor]  # observed hook point -> (pos, d_sae); rows of bypassed positions are zero
    logits: Tensor  # (pos, vocab)
    ce: Tensor  # (pos - 1,) nats: entry t is the surprise at token t + 1
    kl: Tensor  # (pos,) nats: KL to the original at each position


class _Recorder:
    """A transform that keeps the features its SAE finds, then acts as `inner` (or lets the stream pass)."""

    def __init__(self, sae: SparseAutoencoder, inner: Transform | None) -> None:
        self.sae, self.inner = sae, inner
        self.feature_acts = torch.empty(0)

    def __call__(self, x: Tensor) -> Tensor:
        self.feature_acts = self.sae.encode(x)
        return x if self.inner is None else self.inner(x)


def text_activity(
    model: nn.Module,
    ids: Tensor,
    name: Condition,
    spliced_saes: Mapping[HookPoint, SparseAutoencoder],
    observed_saes: Mapping[HookPoint, SparseAutoencoder],
    special_tokens: SpecialTokens,
) -> TextActivity:
    """Run one text `(1, pos)` under a condition and keep what its features and predictions did.

    Args:
        spliced_saes: The SAEs that are in the stream under the `_sae` conditions, and where it is zeroed under `zero`.
        observed_saes: The SAEs whose features are wanted, at any hook points; they read the stream as it is under the condition.
    """
    transforms: dict[HookPoint, Transform] = {}
    if name in ("original_sae", "adapted_sae"):
        transforms = {hook_point: sae.reconstruct for hook_point, sae in spliced_saes.items()}
    elif name == "zero":
        transforms = dict.fromkeys(spliced_saes, torch.zeros_like)
    recorders = {hook_point: _Recorder(sae, transforms.get(hook_point)) for hook_point, sae in observed_saes.items()}
    transforms |= recorders
    with torch.no_grad(), evaluating(model):
        with condition(model, "original", {}, special_tokens):
            teacher_logits = model(input_ids=ids, use_cache=False).logits
        with condition(model, name, transforms, special_tokens):
            logits = model(input_ids=ids, use_cache=False).logits
    positions = special_tokens.spliced_positions(ids)[0]
    return TextActivity(
        feature_acts={hook_point: _at_positions(recorder.feature_acts, positions) for hook_point, recorder in recorders.items()},
        logits=logits[0],
        ce=next_token_ce(logits, ids)[0],
        kl=kl_divergence(teacher_logits, logits)[0],
    )


def _at_positions(rows: Tensor, positions: Tensor) -> Tensor:
    """Rows `(n, d_sae)` of the chosen positions, put back among zeros `(pos, d_sae)`."""
    spread = rows.new_zeros(len(positions), rows.shape[1])
    spread[positions] = rows
    return spread


def most_changed_features(before: Tensor, after: Tensor, n: int) -> list[int]:
    """Features ordered by how far their activations moved, summed over the text, largest first; before and after are `(pos, d_sae)`."""
    change = (after - before).abs().sum(dim=0)
    return [int(feature) for feature in change.topk(min(n, len(change))).indices if change[feature] > 0]


def most_active_features(feature_acts: Tensor, n: int) -> list[int]:
    """Features ordered by their largest activation on the text `(pos, d_sae)`."""
    strongest = feature_acts.max(dim=0).values
    return [int(feature) for feature in strongest.topk(min(n, len(strongest))).indices if strongest[feature] > 0]
