"""Held-out text under each condition, one whole forward pass after the other: the reference of `core/fast/shared_pass.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from lorasae.core.conditions import Condition, condition
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import kl_divergence, next_token_ce
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform

Transforms = Mapping[Condition, Mapping[HookPoint, Transform]]  # what is in the stream under each condition; "original" is among them


@dataclass(frozen=True)
class Losses:
    """Of one condition on one batch, in nats, at every position: whoever sums them leaves out what is not scored."""

    ce: Tensor  # (batch, pos - 1)
    kl: Tensor  # (batch, pos), to the original; zeros for the original itself


class Pass(Protocol):
    """A way to the losses of several conditions on the same batch."""

    def losses(self, ids: Tensor, transforms: Transforms) -> dict[Condition, Losses]:
        """Token ids `(batch, pos)` under each condition. Asked for without gradients, in evaluation mode."""
        ...


@dataclass(frozen=True)
class PlainPass:
    """The model as it is, with hooks."""

    model: nn.Module
    special_tokens: SpecialTokens

    def losses(self, ids: Tensor, transforms: Transforms) -> dict[Condition, Losses]:
        """As in Pass."""
        original = self._logits(ids, "original", transforms["original"])
        found: dict[Condition, Losses] = {}
        for name, inserted in transforms.items():
            logits = original if name == "original" else self._logits(ids, name, inserted)
            found[name] = Losses(next_token_ce(logits, ids), kl_divergence(original, logits))
        return found

    def _logits(self, ids: Tensor, name: Condition, inserted: Mapping[HookPoint, Transform]) -> Tensor:
        with condition(self.model, name, inserted, self.special_tokens):
            return self.model(input_ids=ids, use_cache=False).logits
