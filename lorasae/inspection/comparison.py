"""A finished run, measured on any text, and compared condition by condition, feature by feature, token by token."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorasae.config import DataConfig, SAERef
from lorasae.core.adapter import adapter_off
from lorasae.core.conditions import ALL, Condition
from lorasae.core.evaluate import Measurement, measure
from lorasae.core.features import TextActivity, most_active_features, most_changed_features, text_activity
from lorasae.core.firings import Firings
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import log_probabilities
from lorasae.core.sae import FrozenSAE
from lorasae.errors import LabError
from lorasae.inspection.opened_run import OpenedRun
from lorasae.inspection.token_text import split_letters
from lorasae.sources.data import heldout_chunks, micro_batches

COMPARED: tuple[Condition, ...] = ("original", "original_sae", "adapted_sae")
CHANGE_THRESHOLD = 1e-4  # activations closer than this are called unchanged
N_NEXT = 3


@dataclass(frozen=True)
class ConditionOnText:
    """What is kept of a text under one condition: its vocabulary-wide logits are not."""

    firings: dict[HookPoint, Firings]
    ce: NDArray[np.float32]  # (pos - 1,)
    kl: NDArray[np.float32]  # (pos,)
    next_texts: list[list[str]]  # (pos, N_NEXT), likeliest first
    next_probabilities: NDArray[np.float32]  # (pos, N_NEXT)


@dataclass(frozen=True)
class Comparison:
    """A text under the three conditions."""

    text: str
    ids: list[int]
    tokens: list[str]
    parts_of: list[str | None]  # (pos,): the letter that a token is only a part of
    n_left_out: int  # tokens of the text that were too many to be read
    scored: NDArray[np.bool_]  # (pos,): predictions that count by the run's policy
    bypassed: NDArray[np.bool_]  # (pos,): positions that no SAE sees
    special: NDArray[np.bool_]  # (pos,): BOS, EOS and padding, whatever the policy
    conditions: dict[str, ConditionOnText]

    def likeliest_next(self, position: int) -> list[str]:
        """The likeliest next token at a position under each condition."""
        return [each.next_texts[position][0] for each in self.conditions.values()]

    def firings(self, hook_point: HookPoint) -> dict[str, Firings]:
        """Condition -> what fired at a place."""
        return {name: each.firings[hook_point] for name, each in self.conditions.items()}

    @cached_property
    def means(self) -> dict[str, float | None]:
        """KL and CE over what is scored, nats/token; None where nothing is."""
        kls = {"kl_before": self.conditions["original_sae"].kl, "kl_after": self.conditions["adapted_sae"].kl}
        ces = {
            "ce_original": self.conditions["original"].ce,
            "ce_before": self.conditions["original_sae"].ce,
            "ce_after": self.conditions["adapted_sae"].ce,
        }
        found = {name: _mean(values[self.scored]) for name, values in kls.items()}
        return found | {name: _mean(values[self.scored[:-1]]) for name, values in ces.items()}


def _mean(values: NDArray[np.float32]) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


def compare(opened: OpenedRun, text: str, observed: dict[HookPoint, FrozenSAE]) -> Comparison:
    """The text under the three conditions, each run once; the observed SAEs read the stream in the same passes.

    Args:
        opened: The run. Its own SAEs are in the stream under the `_sae` conditions.
        text: Any text; the model's own BOS is put first.
        observed: SAEs whose features are wanted; they are not put into the stream.
    """
    encoded = opened.encode(text)
    ids, original_logits = encoded.ids, None
    conditions: dict[str, ConditionOnText] = {}
    for name in COMPARED:
        activity = text_activity(opened.model, ids, name, opened.loaded.saes, observed, opened.special_tokens, original_logits)
        original_logits = activity.logits if original_logits is None else original_logits
        conditions[name] = _kept(opened, activity)
    return Comparison(
        text=text,
        ids=ids[0].tolist(),
        tokens=[opened.show(token) for token in ids[0].tolist()],
        parts_of=split_letters(opened.loaded.tokenizer, ids[0].tolist()),
        n_left_out=encoded.n_left_out,
        scored=opened.special_tokens.scored_positions(ids)[0].cpu().numpy(),
        bypassed=opened.bypassed(ids),
        special=opened.special(ids),
        conditions=conditions,
    )


def _kept(opened: OpenedRun, activity: TextActivity) -> ConditionOnText:
    likeliest = log_probabilities(activity.logits).topk(N_NEXT, dim=-1)
    return ConditionOnText(
        firings=activity.firings,
        ce=_numpy(activity.ce),
        kl=_numpy(activity.kl),
        next_texts=[[opened.show(token) for token in row] for row in likeliest.indices.tolist()],
        next_probabilities=_numpy(likeliest.values.exp()),
    )


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()


def notes(opened: OpenedRun, comparison: Comparison, hook_point: HookPoint) -> list[str]:
    """What a reader must know: that nothing can change at a place, or that not all of the text was read."""
    told = []
    if not opened.can_change(hook_point):
        told.append(f"The adapter lies only above {hook_point}: features there cannot change, those of SAEs above it can.")
    if comparison.n_left_out:
        n_read = len(comparison.tokens) - int(comparison.ids[0] == opened.loaded.tokenizer.bos_token_id)
        told.append(f"Only the first {n_read} of {n_read + comparison.n_left_out} tokens are shown: more are not read at once.")
    return told


def heldout_ce(opened: OpenedRun) -> float:
    """The original model's CE on the run's held-out text, nats/token: what text costs that the model knows."""
    return float(opened.result["results"]["ce_original"]["value"])


# As measured again


def measure_again(opened: OpenedRun, data: DataConfig | None = None) -> Measurement:
    """All conditions, on the run's own held-out text or on the held-out side of another source."""
    chunks = opened.heldout() if data is None else heldout_chunks(data, opened.loaded.tokenizer)
    batches = micro_batches(chunks, opened.config.micro_batch_size, opened.loaded.device)
    return measure(opened.model, batches, opened.loaded.saes, opened.special_tokens, ALL)


def samples(opened: OpenedRun, prompt: str, n_tokens: int) -> dict[str, str]:
    """Greedy continuations of a prompt by the original and by the adapted model, without the SAE."""
    ids = opened.encode(prompt).ids
    options: dict[str, Any] = {"max_new_tokens": n_tokens, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad(), adapter_off(opened.model):
        original = opened.model.generate(input_ids=ids, **options)
    with torch.no_grad():
        adapted = opened.model.generate(input_ids=ids, **options)
    decode = opened.loaded.tokenizer.decode
    return {name: decode(out[0], skip_special_tokens=True) for name, out in (("original", original), ("adapted", adapted))}


# As the terminal shows it


@dataclass(frozen=True)
class FeatureRow:
    """One feature on a text: the token it fires on most under any condition, and its activation there under each."""

    hook_point: str
    feature: int
    token: str
    original: float
    original_sae: float
    adapted_sae: float


def observed_saes(opened: OpenedRun, also: tuple[SAERef, ...]) -> dict[HookPoint, FrozenSAE]:
    """The run's own SAEs and further ones of the same model, one per place.

    Raises:
        LabError: For two at one place.
    """
    observed = dict(opened.loaded.saes)
    for each in map(opened.sae, also):
        if each.hook_point in observed:
            asked = f"A further SAE at {each.hook_point} was asked for"
            raise LabError(asked, "One is observed there already", "Give SAEs at other places")
        observed[each.hook_point] = each.sae
    return observed


def feature_rows(comparison: Comparison, hook_point: HookPoint, n: int) -> list[FeatureRow]:
    """The n features that changed most, else the most active ones."""
    found = comparison.firings(hook_point)
    changed = most_changed_features(found["original_sae"], found["adapted_sae"], n)
    dense = {name: found[name].on(changed) for name in COMPARED}
    moved = np.abs(dense["original_sae"] - dense["adapted_sae"]).max(axis=0, initial=0.0) > CHANGE_THRESHOLD
    chosen = [feature for feature, far in zip(changed, moved, strict=True) if far] or most_active_features(found["original"], n)
    rows = []
    for column, feature in enumerate(chosen):
        acts = np.stack([found[name].on(chosen)[:, column] for name in COMPARED])
        strongest = int(acts.max(axis=0).argmax())
        rows.append(FeatureRow(str(hook_point), feature, comparison.tokens[strongest], *(float(value) for value in acts[:, strongest])))
    return rows
