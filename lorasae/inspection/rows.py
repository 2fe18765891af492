"""SAEs, tokens and features of a compared text, as the browser reads them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorasae.core.firings import Firings, total_change
from lorasae.core.hook_points import HookPoint
from lorasae.inspection.comparison import COMPARED, Comparison, ConditionOnText
from lorasae.inspection.opened_run import OpenedSAE


def sae_row(opened: OpenedSAE, neuronpedia: str | None) -> dict[str, Any]:
    """An SAE as the routes tell it."""
    return {
        "release": opened.card.ref.release,
        "sae_id": opened.card.ref.sae_id,
        "hook_point": str(opened.hook_point),
        "layer": opened.hook_point.layer,
        "d_sae": opened.sae.d_sae,
        "l0": opened.card.l0,
        "spliced": opened.spliced,
        "can_change": opened.can_change,
        "neuronpedia": neuronpedia,
    }


def token_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One entry per token; CE is of predicting this token, KL of the prediction made at it."""
    conditions = comparison.conditions
    ces = {"ce_original": "original", "ce_before": "original_sae", "ce_after": "adapted_sae"}
    return [
        {
            "text": text,
            "part_of": comparison.parts_of[position],
            "id": comparison.ids[position],
            "scored": bool(comparison.scored[position]),
            "bypassed": bool(comparison.bypassed[position]),
            "special": bool(comparison.special[position]),
            "kl_before": rounded(conditions["original_sae"].kl[position]),
            "kl_after": rounded(conditions["adapted_sae"].kl[position]),
            **{key: rounded(conditions[name].ce[position - 1]) if position else None for key, name in ces.items()},
            "next": {name: _next(conditions[name], position) for name in COMPARED},
        }
        for position, text in enumerate(comparison.tokens)
    ]


def _next(condition: ConditionOnText, position: int) -> list[list[Any]]:
    pairs = zip(condition.next_texts[position], condition.next_probabilities[position], strict=True)
    return [[token, rounded(probability)] for token, probability in pairs]


def change_rows(comparison: Comparison, hook_point: HookPoint, n: int) -> list[dict[str, Any]]:
    """The features of a place by how far they moved, then by their strongest activation; BOS and its like count for neither."""
    before, after = (_without(comparison.firings(hook_point)[name], comparison.special) for name in ("original_sae", "adapted_sae"))
    change, strongest = total_change(before, after), np.maximum(before.maximum, after.maximum)
    active = np.flatnonzero(strongest)
    chosen = active[np.lexsort((active, -strongest[active], -change[active]))][:n]
    firings = comparison.firings(hook_point)
    dense = {key: firings[name].on(chosen) for key, name in (("before", "original_sae"), ("after", "adapted_sae"))}
    return [
        {
            "feature": int(feature),
            "before": rounded(dense["before"][:, column]),
            "after": rounded(dense["after"][:, column]),
            "change": rounded(change[feature]),
            "max": rounded(strongest[feature]),
        }
        for column, feature in enumerate(chosen)
    ]


def _without(one: Firings, ignored: NDArray[np.bool_]) -> Firings:
    kept = ~ignored[one.token]
    return Firings(one.feature[kept], one.token[kept], one.value[kept], one.n_tokens, one.d_sae)


def rounded(value: Any) -> Any:
    """A number or an array for JSON, to five significant digits: what is drawn and read needs no more."""
    if isinstance(value, np.ndarray):
        return [rounded(each) if each else 0.0 for each in value.tolist()]
    return float(f"{float(value):.5g}") if math.isfinite(value) else None
