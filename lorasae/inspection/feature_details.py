"""One feature, looked at closely: where it fires in both models, what became of it, and what its decoder row says."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lorasae.core.directions import logit_effects, nearest_decoders
from lorasae.core.firings import Firings
from lorasae.inspection.activity import Activity
from lorasae.inspection.opened_run import OpenedRun, OpenedSAE
from lorasae.inspection.rows import rounded

N_BINS = 32
N_EXAMPLES = 10
N_LOGITS = 10
N_NEIGHBOURS = 8
CONTEXT = 16  # tokens shown on either side of an example's peak


def decoder_side(opened: OpenedRun, observed: OpenedSAE, feature: int, activity: Activity | None) -> dict[str, Any]:
    """What needs no text: logit effects along the direct path, and the nearest decoder rows."""
    effects = logit_effects(opened.model, observed.hook_point, observed.sae.W_dec[feature])
    neighbours = nearest_decoders(observed.sae, feature, N_NEIGHBOURS)
    return {
        "logits": {"up": _extremes(opened, effects), "down": _extremes(opened, -effects, sign=-1.0), "path": _path(opened, observed)},
        "neighbours": [
            {"feature": other, "cosine": rounded(cosine), "label": activity.label(other) if activity else None}
            for other, cosine in neighbours
        ],
    }


def _extremes(opened: OpenedRun, effects: torch.Tensor, sign: float = 1.0) -> list[list[Any]]:
    found = effects.topk(min(N_LOGITS, len(effects)))
    return [[opened.show(int(token)), rounded(sign * float(value))] for token, value in zip(found.indices, found.values, strict=True)]


def _path(opened: OpenedRun, observed: OpenedSAE) -> str:
    above = [layer for layer in opened.adapted_layers if layer >= observed.hook_point.first_layer_after]
    sentence = (
        "The direct path of the original model: one unit of the feature through the residual stream, the gain of the final norm and the "
        "unembedding, mean removed; the layers between and the norm's scale are left out."
    )
    if not above:
        return f"{sentence} No layer above this SAE is adapted."
    named = f"layer {above[0]}" if len(above) == 1 else f"layers {above[0]} to {above[-1]}"
    return f"{sentence} The adapter in {named} changes what arrives by the other paths, which is not shown."


def text_side(activity: Activity, opened: OpenedRun, feature: int) -> dict[str, Any]:
    """What the held-out text shows of a feature, original+SAE before and adapted+SAE after."""
    before, after = activity.before.of(feature), activity.after.of(feature)
    tops = {"before": _top(activity.before, feature, activity), "after": _top(activity.after, feature, activity)}
    density = activity.density(feature)
    return {
        "density": {"before": rounded(density[0]), "after": rounded(density[1])},
        "fired": {"before": len(before[0]), "after": len(after[0]), "of": activity.n_counted},
        "histogram": _histogram(before[1], after[1]),
        "examples": {
            "before": [_example(activity, activity.before, opened, feature, peak) for peak in tops["before"]],
            "after": [_example(activity, activity.after, opened, feature, peak) for peak in tops["after"]],
            "shared": len(set(tops["before"]) & set(tops["after"])),
            "of": max(len(tops["before"]), len(tops["after"])),
        },
        "correlation": rounded(activity.correlation[feature]),
        "status": activity.status(feature),
        "label": activity.label(feature),
    }


def _histogram(before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, Any]:
    """Of the activations above zero, in both models, over the same edges."""
    top = max(before.max(initial=0.0), after.max(initial=0.0))
    edges = np.linspace(0.0, top or 1.0, N_BINS + 1)
    counts = {name: np.histogram(values, edges)[0].tolist() for name, values in (("before", before), ("after", after))}
    return {"edges": rounded(edges), **counts}


def _top(one: Firings, feature: int, activity: Activity) -> list[int]:
    """The feature's strongest tokens, at most one per sequence, strongest first."""
    token, value = one.of(feature)
    order = np.argsort(-value, kind="stable")
    sequences = token[order] // activity.chunks.shape[1]
    _, first = np.unique(sequences, return_index=True)
    return [int(token[order[index]]) for index in np.sort(first)[:N_EXAMPLES]]


def _passage(opened: OpenedRun, ids: NDArray[np.integer], peak: int) -> str:
    """The text around the peak up to the next special token on either side: written out, those would be ordinary letters to the model."""
    breaks = np.flatnonzero(opened.special(torch.tensor(ids)))
    start = max((index + 1 for index in breaks if index < peak), default=0)
    stop = min((index for index in breaks if index > peak), default=len(ids))
    return opened.loaded.tokenizer.decode(ids[start:stop].tolist()).strip("\ufffd").strip()  # the cut may go through a letter


def _example(activity: Activity, one: Firings, opened: OpenedRun, feature: int, peak: int) -> dict[str, Any]:
    length = activity.chunks.shape[1]
    sequence, position = divmod(peak, length)
    start, stop = max(0, position - CONTEXT), min(length, position + CONTEXT + 1)
    token, value = one.of(feature)
    inside = (token >= sequence * length + start) & (token < sequence * length + stop)
    acts = np.zeros(stop - start, dtype=np.float32)
    acts[token[inside] - sequence * length - start] = value[inside]
    return {
        "tokens": [opened.show(each) for each in activity.chunks[sequence, start:stop]],
        "passage": _passage(opened, activity.chunks[sequence, start:stop], position - start),
        "acts": rounded(acts),
        "peak": position - start,
        "where": f"held-out sequence {sequence + 1}, token {position + 1}",
    }
