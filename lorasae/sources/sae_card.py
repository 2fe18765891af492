"""What is stated about an SAE before its weights are seen, and whether that can be put into a model's stream at all."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from lorasae.config import SAERef
from lorasae.errors import LabError

SITES = {  # the end of a hook point, in either naming scheme -> the place in words
    "hook_resid_pre": "before the layer",
    "input": "before the layer",
    "hook_resid_post": "after the layer",
    "output": "after the layer",
    "hook_attn_out": "attention output",
    "post_attention_layernorm.output": "attention output",
    "attn.hook_z": "attention heads",
    "self_attn.o_proj.input": "attention heads",
    "hook_mlp_out": "MLP output",
    "post_feedforward_layernorm.output": "MLP output",
}


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
    repository: str | None = None  # on the Hub
    path: str | None = None  # in it: a folder, or a file
    neuronpedia: str | None = None  # model/source

    @cached_property
    def layer(self) -> int:
        """The layer in the name of the hook point; -1 where it names none."""
        match = re.search(r"\d+", self.hook_point or "")
        return int(match[0]) if match else -1


def site_of(card: SAECard) -> str:
    """Where in its layer an SAE sits, in words."""
    return site_in_words(card.hook_point or "")


@lru_cache(2048)
def site_in_words(hook_point: str) -> str:
    """The same of a hook point; the end of its name where there are no words for it."""
    end = re.sub(r"^.*?\d+\.?", "", hook_point) or "output"
    return SITES.get(end, end)


class Unspliceable(LabError):
    """An SAE that cannot be put into a model's stream, or not opened safely; `reason` says why in two words, to be counted."""

    def __init__(self, ref: SAERef, reason: str, found: str, remedy: str = "Choose an SAE that reconstructs the place it reads") -> None:
        self.reason = reason
        super().__init__(f"The SAE {ref} was asked for", found, remedy)


_NOT_A_RECONSTRUCTION = {  # what its kind is called -> reason, sentence
    "clt": ("cross-layer transcoder", "It is a cross-layer transcoder: it reads one layer and writes many"),
    "transcoder": ("transcoder", "It is a transcoder: it reads one place of the model and writes another, so it reconstructs nothing"),
    "crosscoder": ("crosscoder", "It is a crosscoder: it reads several layers at once"),
    "temporal": ("temporal SAE", "It is a temporal SAE: what it makes of a token depends on the tokens before it"),
    "matching_pursuit": ("matching pursuit", "It is a matching-pursuit SAE: its encoder is a search, not a function to train through"),
}


def refuse_unspliceable(ref: SAERef, kind: str, hook_point: str | None = None, hook_point_out: str | None = None) -> None:
    """Refuse what is no function from a place of the stream to the same place.

    Args:
        ref: The SAE, for the message.
        kind: Architecture, loader or path: whatever names what sort of thing it is.
        hook_point: Where it reads.
        hook_point_out: Where it writes, if stated.

    Raises:
        Unspliceable: Saying why it cannot be spliced.
    """
    for word, (reason, sentence) in _NOT_A_RECONSTRUCTION.items():
        if word in kind:
            raise Unspliceable(ref, reason, sentence)
    if hook_point_out not in (None, hook_point):
        raise Unspliceable(ref, "writes elsewhere", f"It reads {hook_point} and writes {hook_point_out}")
