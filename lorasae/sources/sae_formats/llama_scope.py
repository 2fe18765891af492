"""Llama Scope, and its successor for DeepSeek-R1-Distill: linear layers as PyTorch stores them, and their settings in lm-saes's words.

Both were trained on activations scaled to mean norm sqrt(d_in); the factor that undoes it stands in the registry, and is folded into the
weights where all layouts meet (`sae_weights.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorasae.errors import LabError
from lorasae.sources.sae_card import refuse_unspliceable
from lorasae.sources.sae_formats.stored import (
    Published,
    Shapes,
    Stored,
    json_settings,
    jumprelu_config,
    matrix_shape,
    safetensors_shapes,
    safetensors_values,
)

FILES = ("hyperparams.json", "checkpoints/final.safetensors")
DISTILL_FILES = ("config.json", "sae_weights.safetensors")
_TODAY = {"encoder.weight": "W_enc", "decoder.weight": "W_dec", "encoder.bias": "b_enc", "decoder.bias": "b_dec"}
_TRANSPOSED = ("W_enc", "W_dec")


def read(asked: str, published: Published, files: Mapping[str, Path]) -> Stored:
    """An SAE of Llama Scope: one threshold for all features, stated before the norm factor."""
    settings = json_settings(asked, files["hyperparams.json"])
    try:
        norm = float(settings["dataset_average_activation_norm"]["in"])
        threshold, d_in = float(settings["jump_relu_threshold"]), int(settings["d_model"])
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(asked, f"Its hyperparams.json lacks or misstates {error}", "Fetch it again, or choose another SAE") from None
    if norm <= 0:
        raise LabError(asked, f"Its hyperparams.json states an activation norm of {norm}", "Fetch it again, or choose another SAE")
    path = files["checkpoints/final.safetensors"]
    stored, shapes = _shapes(asked, path, _TODAY)
    config = _config(asked, published, settings, shapes)
    scaled = threshold * (d_in**0.5 / norm)

    def values() -> dict[str, Tensor]:
        return {**_values(asked, path, stored), "threshold": torch.full((config["d_sae"],), scaled)}

    return Stored(config, {**shapes, "threshold": (config["d_sae"],)}, values)


def read_distill(asked: str, published: Published, files: Mapping[str, Path]) -> Stored:
    """An SAE of Llama Scope R1 Distill: a threshold per feature, as a logarithm."""
    settings, path = json_settings(asked, files["config.json"]), files["sae_weights.safetensors"]
    stored, shapes = _shapes(asked, path, {**_TODAY, "log_jumprelu_threshold": "threshold"})
    config = _config(asked, published, settings, shapes)

    def values() -> dict[str, Tensor]:
        read = _values(asked, path, stored)
        return {**read, "threshold": read["threshold"].exp()}

    return Stored(config, shapes, values)


def _shapes(asked: str, path: Path, today: Mapping[str, str]) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Stored name -> today's, and shapes as they will be. What else the file holds is left where it is, as sae-lens does."""
    stored = safetensors_shapes(asked, path)
    names = {name: today[name] for name in stored if name in today}
    return names, {names[name]: stored[name][::-1] if names[name] in _TRANSPOSED else stored[name] for name in names}


def _values(asked: str, path: Path, names: Mapping[str, str]) -> dict[str, Tensor]:
    values = safetensors_values(asked, path, names)
    for name in _TRANSPOSED:
        values[name] = values[name].T.contiguous()
    return values


def _config(asked: str, published: Published, settings: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    for setting in ("apply_decoder_bias_to_pre_encoder", "use_glu_encoder"):
        if settings.get(setting):
            raise LabError(asked, f"Its settings say {setting}, which SAEs of this layout are not read with", "Choose another SAE")
    hook_name = settings.get("hook_point_in") or published.card.hook_point
    refuse_unspliceable(published.card.ref, "", hook_name, settings.get("hook_point_out") or hook_name)
    d_in, d_sae = matrix_shape(asked, shapes, "W_enc")
    return {**jumprelu_config(d_in, d_sae, hook_name, published.card.model), "normalize_activations": "expected_average_only_in"}
