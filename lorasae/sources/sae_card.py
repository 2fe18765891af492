"""What is stated about an SAE before its weights are seen, and whether that can be put into a model's stream at all."""

import re
from dataclasses import dataclass
from pathlib import Path

from lorasae.config import SAERef
from lorasae.errors import LabError


@dataclass(frozen=True)
class SAECard:
    """What is stated about an SAE before its weights are seen. None: not stated."""

    ref: SAERef
    architecture: str | None = None
    d_in: int | None = None
    d_sae: int | None = None
    hook_point: str | None = None  # as the publisher writes it: TransformerLens name or module path
    model: str | None = None  # the model it was trained on: Hub id, TransformerLens name, or a local path
    l0: float | None = None
    fve: float | None = None
    folder: Path | None = None  # where cfg.json and sae_weights.safetensors lie; None: to be fetched through sae-lens

    @property
    def layer(self) -> int:
        """The layer in the name of the hook point; -1 where it names none."""
        match = re.search(r"\d+", self.hook_point or "")
        return int(match[0]) if match else -1


_NOT_A_RECONSTRUCTION = {
    "clt": "It is a cross-layer transcoder: it reads one layer and writes many",
    "transcoder": "It is a transcoder: it reads one place of the model and writes another, so it reconstructs nothing",
    "crosscoder": "It is a crosscoder: it reads several layers at once",
    "temporal": "It is a temporal SAE: what it makes of a token depends on the tokens before it",
    "matching_pursuit": "It is a matching-pursuit SAE: its encoder is a search, not a function to train through",
}


def refuse_unspliceable(ref: SAERef, kind: str, hook_point: str | None = None, hook_point_out: str | None = None) -> None:
    """Refuse what is no function from a place of the stream to the same place.

    Args:
        ref: The SAE, for the message.
        kind: Architecture, loader or path: whatever names what sort of thing it is.
        hook_point: Where it reads.
        hook_point_out: Where it writes, if stated.

    Raises:
        LabError: Saying why it cannot be spliced.
    """
    reasons = [reason for word, reason in _NOT_A_RECONSTRUCTION.items() if word in kind]
    if not reasons and hook_point_out not in (None, hook_point):
        reasons = [f"It reads {hook_point} and writes {hook_point_out}"]
    if reasons:
        raise LabError(f"The SAE {ref} was asked for", reasons[0], "Choose an SAE that reconstructs the place it reads")
