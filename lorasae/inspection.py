"""A finished run, opened once: measured on any text, and compared condition by condition, feature by feature, token by token."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor

from lorasae.catalog import resolve
from lorasae.config import DataConfig, SAERef
from lorasae.core.adapter import adapted_layers, adapter_off
from lorasae.core.evaluate import ALL, Condition, Measurement, measure
from lorasae.core.features import TextActivity, most_active_features, most_changed_features, text_activity
from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import FrozenSAE
from lorasae.data import Chunks, heldout_chunks, micro_batches
from lorasae.errors import LabError
from lorasae.loading import check_pair, load, load_sae
from lorasae.runs import Run

COMPARED: tuple[Condition, ...] = ("original", "original_sae", "adapted_sae")
CHANGE_THRESHOLD = 1e-4  # activations closer than this are called unchanged


@dataclass(frozen=True)
class TokenRow:
    """One token of a text. Differences are nats; `next_…` are the likeliest next tokens under each condition."""

    token: str
    kl_before: float  # KL(original || original + SAE) of the prediction made at this token
    kl_after: float  # KL(original || adapted + SAE)
    scored: bool  # whether the run's special-token policy counts the prediction made here
    next_original: str
    next_original_sae: str
    next_adapted_sae: str


@dataclass(frozen=True)
class FeatureRow:
    """One feature on a text: the token it fires on most under any condition, and its activation there under each."""

    hook_point: str
    feature: int
    token: str
    original: float
    original_sae: float
    adapted_sae: float


@dataclass(frozen=True)
class Comparison:
    """A text under the three conditions."""

    tokens: list[TokenRow]
    features: list[FeatureRow]
    notes: list[str]


class Inspector:
    """The model, SAEs and adapter of a run, held in memory."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.result = run.result
        self.loaded = load(run.config)
        if not (run.adapter / "adapter_model.safetensors").exists():
            raise LabError(
                f"The adapter of the run {run.run_id} was asked for", f"It is not in {run.adapter}", "Restore it, or do the run again"
            )
        self.model = PeftModel.from_pretrained(self.loaded.model, str(run.adapter))  # type: ignore[arg-type]
        self.model.eval()

    def measure(self, data: DataConfig | None = None) -> Measurement:
        """All conditions, on the run's own held-out text or on the held-out side of another source."""
        chunks = self._heldout() if data is None else heldout_chunks(data, self.loaded.tokenizer)
        batches = micro_batches(chunks, self.run.config.micro_batch_size, self.loaded.device)
        return measure(self.model, batches, self.loaded.saes, self.loaded.special_tokens, ALL)

    def compare(self, text: str, n_features: int = 8, also: tuple[SAERef, ...] = ()) -> Comparison:
        """The text under the three conditions.

        Args:
            text: Any text; the model's own BOS is put first.
            n_features: Features listed per SAE: those whose activation changed most, else the most active.
            also: Further SAEs of the same model to read the stream with; they are observed, not spliced in.
        """
        ids = self._encode(text)
        observed = dict(self.loaded.saes)
        for hook_point, sae in map(self._open_sae, also):
            if hook_point in observed:
                raise LabError(f"A further SAE at {hook_point} was asked for", "One is observed there already", "Give SAEs at other places")
            observed[hook_point] = sae
        activity: dict[Condition, TextActivity] = {
            name: text_activity(self.model, ids, name, self.loaded.saes, observed, self.loaded.special_tokens) for name in COMPARED
        }
        tokens = [self._show(token) for token in ids[0]]
        features = [row for hook_point in sorted(observed) for row in _feature_rows(hook_point, activity, tokens, n_features)]
        return Comparison(self._token_rows(ids, tokens, activity), features, self._notes())

    def samples(self, prompt: str, n_tokens: int) -> dict[str, str]:
        """Greedy continuations of a prompt by the original and by the adapted model, without the SAE."""
        ids = self._encode(prompt)
        options: dict[str, Any] = {"max_new_tokens": n_tokens, "do_sample": False, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad(), adapter_off(self.model):
            original = self.model.generate(input_ids=ids, **options)
        with torch.no_grad():
            adapted = self.model.generate(input_ids=ids, **options)
        decode = self.loaded.tokenizer.decode
        return {name: decode(out[0], skip_special_tokens=True) for name, out in (("original", original), ("adapted", adapted))}

    def _heldout(self) -> Chunks:
        if not self.run.heldout.exists():
            asked = f"The held-out text of the run {self.run.run_id} was asked for"
            raise LabError(asked, f"It is not in {self.run.folder}", "Measure on another text: --data FILE")
        return np.load(self.run.heldout, allow_pickle=False)

    def _encode(self, text: str) -> Tensor:
        ids = self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise LabError("A text to inspect was asked for", "It holds no token", "Give a sentence")
        bos = self.loaded.tokenizer.bos_token_id
        return torch.tensor([[*([] if bos is None else [bos]), *ids]], device=self.loaded.device)

    def _open_sae(self, ref: SAERef) -> tuple[HookPoint, FrozenSAE]:
        card = resolve(ref)
        check_pair(card, self.run.config.model.model, self.loaded.model)
        return load_sae(card, self.loaded.device)

    def _show(self, token: Tensor) -> str:
        return self.loaded.tokenizer.decode([int(token)])

    def _token_rows(self, ids: Tensor, tokens: list[str], activity: dict[Condition, TextActivity]) -> list[TokenRow]:
        scored = self.loaded.special_tokens.scored_positions(ids)[0].tolist()
        likeliest = {name: [self._show(token) for token in activity[name].logits.argmax(dim=-1)] for name in COMPARED}
        return [
            TokenRow(token, before.item(), after.item(), scored[position], *(likeliest[name][position] for name in COMPARED))
            for position, (token, before, after) in enumerate(
                zip(tokens, activity["original_sae"].kl, activity["adapted_sae"].kl, strict=True)
            )
        ]

    def _notes(self) -> list[str]:
        lowest = min(self.loaded.saes)
        if min(adapted_layers(self.model)) < lowest.first_layer_after:
            return []
        return [f"The adapter lies only above {lowest}: features there cannot change, those of SAEs above it can."]


def _feature_rows(hook_point: HookPoint, activity: dict[Condition, TextActivity], tokens: list[str], n: int) -> list[FeatureRow]:
    acts = {name: activity[name].feature_acts[hook_point] for name in COMPARED}
    chosen = [
        feature
        for feature in most_changed_features(acts["original_sae"], acts["adapted_sae"], n)
        if (acts["original_sae"][:, feature] - acts["adapted_sae"][:, feature]).abs().max() > CHANGE_THRESHOLD
    ] or most_active_features(acts["original"], n)
    rows = []
    for feature in chosen:
        strongest = torch.stack([acts[name][:, feature] for name in COMPARED]).max(dim=0).values.argmax()
        rows.append(FeatureRow(str(hook_point), feature, tokens[strongest], *(acts[name][strongest, feature].item() for name in COMPARED)))
    return rows
