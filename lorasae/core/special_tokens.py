"""The one policy for BOS, EOS and padding: which positions an SAE sees, and which predictions count."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpecialTokens:
    """Decided by token id, not by position: EOS occurs in the middle of packed chunks.

    Training, evaluation and inspection share one object, because the research code's numbers differ between its scripts for this reason
    alone (each script had its own rule).
    """

    bypassed: tuple[int, ...] = ()  # these positions keep the model's own activation
    unscored: tuple[int, ...] = ()  # the prediction made at these positions counts in no loss

    def spliced_positions(self, ids: Tensor) -> Tensor:
        """`(batch, pos)` bool: positions whose activation the SAE replaces."""
        return ~_is_in(ids, self.bypassed)

    def scored_positions(self, ids: Tensor) -> Tensor:
        """`(batch, pos)` bool: positions whose next-token prediction is scored."""
        return ~_is_in(ids, self.unscored)


def _is_in(ids: Tensor, tokens: Sequence[int]) -> Tensor:
    return torch.isin(ids, torch.tensor(tokens, device=ids.device, dtype=ids.dtype))
