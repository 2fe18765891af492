"""What an SAE's features and the model's predictions do on a text, condition by condition."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lorasae.core.adapter import evaluating
from lorasae.core.conditions import Condition, condition
from lorasae.core.firings import Firings, firings, total_change
from lorasae.core.hook_points import HookPoint, decoder_blocks
from lorasae.core.losses import kl_divergence, next_token_ce
from lorasae.core.sae import SparseAutoencoder
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform


@dataclass(frozen=True)
class TextActivity:
    """One text of `pos` tokens under one condition."""

    firings: dict[HookPoint, Firings]  # of the observed SAEs; nothing fires at bypassed positions
    logits: Tensor  # (pos, vocab)
    ce: Tensor  # (pos - 1,) nats: entry t is the surprise at token t + 1
    kl: Tensor  # (pos,) nats: KL to the original at each position

    @property
    def feature_acts(self) -> dict[HookPoint, Tensor]:
        """Observed hook point -> `(pos, d_sae)`, every zero written out: for SAEs that are not too wide."""
        return {hook_point: torch.from_numpy(one.on(np.arange(one.d_sae))) for hook_point, one in self.firings.items()}


class _Enough(Exception):
    """The pass has come as far as it is wanted."""


class _Recorder:
    """A transform that keeps what its SAE finds, then acts as `inner` (or lets the stream pass, or ends the pass)."""

    def __init__(
        self, sae: SparseAutoencoder, ids: Tensor, special_tokens: SpecialTokens, inner: Transform | None, *, last: bool = False
    ) -> None:
        self.sae, self.inner, self.last = sae, inner, last
        self.positions = special_tokens.spliced_positions(ids).flatten().nonzero()[:, 0].cpu().numpy()
        self.n_tokens = ids.numel()
        self.found: Firings | None = None

    def __call__(self, x: Tensor) -> Tensor:
        self.found = firings(self.sae, x, self.positions, self.n_tokens)
        if self.last:
            raise _Enough
        return x if self.inner is None else self.inner(x)


def text_activity(
    model: nn.Module,
    ids: Tensor,
    name: Condition,
    spliced_saes: Mapping[HookPoint, SparseAutoencoder],
    observed_saes: Mapping[HookPoint, SparseAutoencoder],
    special_tokens: SpecialTokens,
    original_logits: Tensor | None = None,
) -> TextActivity:
    """Run one text `(1, pos)` under a condition and keep what its features and predictions did.

    Args:
        model: The model with its adapter.
        ids: The text.
        name: The condition.
        spliced_saes: The SAEs that are in the stream under the `_sae` conditions, and where it is zeroed under `zero`.
        observed_saes: The SAEs whose features are wanted, at any hook points; they read the stream as it is under the condition.
        special_tokens: Which positions no SAE sees.
        original_logits: `(pos, vocab)` of the original model on this text, if they are known already: saves a pass.
    """
    transforms = _transforms(name, spliced_saes)
    recorders = {hook_point: _Recorder(sae, ids, special_tokens, transforms.get(hook_point)) for hook_point, sae in observed_saes.items()}
    with torch.no_grad(), evaluating(model):
        with condition(model, name, transforms | recorders, special_tokens):
            logits = model(input_ids=ids, use_cache=False).logits
        if name == "original":
            teacher_logits = logits
        elif original_logits is not None:
            teacher_logits = original_logits[None]
        else:
            with condition(model, "original", {}, special_tokens):
                teacher_logits = model(input_ids=ids, use_cache=False).logits
        kl = kl_divergence(teacher_logits, logits)[0]
    return TextActivity(
        firings={hook_point: _found(recorder) for hook_point, recorder in recorders.items()},
        logits=logits[0],
        ce=next_token_ce(logits, ids)[0],
        kl=kl,
    )


def batch_firings(
    model: nn.Module,
    ids: Tensor,
    name: Condition,
    spliced_saes: Mapping[HookPoint, SparseAutoencoder],
    observed: tuple[HookPoint, SparseAutoencoder],
    special_tokens: SpecialTokens,
) -> Firings:
    """What one SAE finds on a batch `(batch, pos)` under a condition, tokens numbered row by row.

    The pass ends where the SAE has read the stream: the layers above and the vocabulary are not computed.
    """
    hook_point, sae = observed
    recorder = _Recorder(sae, ids, special_tokens, None, last=True)
    transforms = {**_transforms(name, spliced_saes), hook_point: recorder}
    with torch.no_grad(), evaluating(model), condition(model, name, transforms, special_tokens), suppress(_Enough):
        model(input_ids=ids, use_cache=False)
    return _found(recorder)


def _transforms(name: Condition, spliced_saes: Mapping[HookPoint, SparseAutoencoder]) -> dict[HookPoint, Transform]:
    if name in ("original_sae", "adapted_sae"):
        return {hook_point: sae.reconstruct for hook_point, sae in spliced_saes.items()}
    return dict.fromkeys(spliced_saes, torch.zeros_like) if name == "zero" else {}


def _found(recorder: _Recorder) -> Firings:
    assert recorder.found is not None  # every forward pass goes by every hook point
    return recorder.found


def most_changed_features(before: Firings, after: Firings, n: int) -> list[int]:
    """Features ordered by how far their activations moved, summed over the text, largest first."""
    change = total_change(before, after)
    return [int(feature) for feature in _largest(change, n) if change[feature] > 0]


def most_active_features(one: Firings, n: int) -> list[int]:
    """Features ordered by their largest activation on the text."""
    return [int(feature) for feature in _largest(one.maximum, n) if one.maximum[feature] > 0]


def _largest(values: NDArray[Any], n: int) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:n]


def adapter_reaches(model: nn.Module, hook_point: HookPoint) -> bool:
    """Whether any part of the adapter lies below the place, so that what an SAE reads there can change."""
    for layer, block in enumerate(decoder_blocks(model)[: hook_point.layer + 1]):
        adapted = [name for name, _ in block.named_parameters() if "lora_" in name]
        if adapted and (layer < hook_point.layer or any(_is_below(name, hook_point) for name in adapted)):
            return True
    return False


def _is_below(path: str, hook_point: HookPoint) -> bool:
    """Whether a module of the hook point's own layer is computed before the hook point."""
    if hook_point.site == "resid_pre":
        return False
    if hook_point.site in ("resid_post", "mlp_out"):
        return True
    in_attention = "attn" in path or "attention" in path
    writes = any(name in path for name in ("o_proj", "c_proj", "attention.dense"))
    return in_attention and not (hook_point.site == "attn_z" and writes)
