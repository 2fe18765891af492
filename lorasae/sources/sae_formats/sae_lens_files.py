"""sae-lens's own layout: `cfg.json` and `sae_weights.safetensors`, in a folder of this machine or in a repository."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorasae.errors import LabError
from lorasae.sources.catalog import with_defaults
from lorasae.sources.sae_card import refuse_unspliceable
from lorasae.sources.sae_formats.stored import Published, Stored, json_settings, safetensors_shapes, safetensors_values

FILES = ("cfg.json", "sae_weights.safetensors")


def read(asked: str, published: Published, files: Mapping[str, Path]) -> Stored:
    """A published SAE in sae-lens's layout; the registry's corrections are laid over its settings."""
    settings = {**json_settings(asked, files["cfg.json"]), **(published.overrides or {})}
    if settings.get("normalize_activations") is True:  # what today's name is for
        settings["normalize_activations"] = "expected_average_only_in"
    config = with_defaults(settings)
    metadata = config["metadata"]
    refuse_unspliceable(published.card.ref, config["architecture"], metadata.get("hook_name"), metadata.get("hook_name_out"))
    return stored(asked, config, files["sae_weights.safetensors"])


def stored(asked: str, config: dict[str, Any], path: Path) -> Stored:
    """The tensors at `path` beside the settings `config`; a scaling factor of nothing but ones, as older SAEs have it, is left out."""
    shapes = safetensors_shapes(asked, path)
    if "scaling_factor" in shapes:
        factor = safetensors_values(asked, path, {"scaling_factor": "scaling_factor"})["scaling_factor"]
        if not torch.allclose(factor, torch.ones_like(factor)):
            found = "It rescales its features by a factor found in fine-tuning, which today's SAEs do not have"
            raise LabError(asked, found, "Fold the factor into the decoder, or choose another SAE")
        del shapes["scaling_factor"]

    def values() -> dict[str, Tensor]:
        return safetensors_values(asked, path, {name: name for name in shapes})

    return Stored(config, shapes, values)
