"""Gemma Scope 2: `params.safetensors` under lower-case names, and a `config.json` that some SAEs lack.

sae-lens asks the network for the shapes even where the file is here; this reader asks the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorasae.errors import LabError
from lorasae.sources.sae_card import refuse_unspliceable
from lorasae.sources.sae_formats.stored import (
    Published,
    Stored,
    json_settings,
    jumprelu_config,
    matrix_shape,
    safetensors_shapes,
    safetensors_values,
)

FILES = ("params.safetensors",)
OPTIONAL = ("config.json",)
_TODAY = {"w_enc": "W_enc", "w_dec": "W_dec", "b_enc": "b_enc", "b_dec": "b_dec", "threshold": "threshold"}


def read(asked: str, published: Published, files: Mapping[str, Path]) -> Stored:
    """An SAE of Gemma Scope 2.

    Raises:
        LabError: For a transcoder, whatever folder it lies in: an affine skip connection, or another place that it writes.
    """
    settings = json_settings(asked, files["config.json"]) if "config.json" in files else {}
    if (architecture := settings.get("architecture", "jump_relu")) != "jump_relu":
        raise LabError(asked, f"Its architecture {architecture!r} is not known in Gemma Scope 2", "Choose another SAE")
    path = files["params.safetensors"]
    stored_shapes = safetensors_shapes(asked, path)
    if "affine_skip_connection" in stored_shapes or settings.get("affine_connection"):
        found = "It has an affine skip connection: a transcoder, which reads one place of the model and writes another"
        raise LabError(asked, found, "Choose an SAE that reconstructs the place it reads")
    hook_name = settings.get("hf_hook_point_in") or published.card.hook_point
    refuse_unspliceable(published.card.ref, "", hook_name, settings.get("hf_hook_point_out"))
    names = {name: today for name, today in _TODAY.items() if name in stored_shapes}
    shapes = {today: stored_shapes[name] for name, today in names.items()}
    d_in, d_sae = matrix_shape(asked, shapes, "W_enc")
    config = jumprelu_config(d_in, d_sae, hook_name, _model(settings) or published.card.model)
    return Stored(config, shapes, lambda: safetensors_values(asked, path, names))


def _model(settings: Mapping[str, Any]) -> str | None:
    """The model's name on the Hub: the files call Gemma 3 `gemma-v3`, leave its owner out, and say -pt where the Hub does not."""
    name = settings.get("model_name")
    if not isinstance(name, str):
        return None
    name = (name if "google" in name else f"google/{name}").replace("-v3", "-3")
    return name.replace("-pt", "") if "270m" in name else name
