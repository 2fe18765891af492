"""What every reader answers: settings, shapes, and tensors under today's names, read only when the shapes have been looked at."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lorasae.errors import LabError
from lorasae.sources.sae_card import SAECard

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Published:
    """An SAE of the registry: where it lies, and what is stated about it beside its files."""

    card: SAECard
    loader: str  # the registry's name of the layout
    repository: str
    path: str  # folder in the repository
    norm_factor: float | None = None  # activations times this have mean norm sqrt(d_in), for SAEs trained on such
    overrides: Mapping[str, Any] | None = None  # settings that the registry corrects


@dataclass(frozen=True)
class Stored:
    """An SAE in its files."""

    config: dict[str, Any]  # in today's form: architecture, d_in, d_sae, …, metadata
    shapes: Shapes  # by sae-lens's names
    read: Callable[[], dict[str, Tensor]]  # the same names; float32, and the caller's to change


def json_settings(asked: str, path: Path) -> dict[str, Any]:
    """The settings in a JSON file.

    Raises:
        LabError: If it holds none.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of UTF-8 alike
        raise LabError(asked, f"Its {path.name} cannot be read: {error}", "Copy or fetch the file again") from None
    if not isinstance(settings, dict):
        raise LabError(asked, f"Its {path.name} holds no settings", "Copy or fetch the file again")
    return settings


def safetensors_shapes(asked: str, path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a file; no value is read."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except SafetensorError as error:
        raise _damaged(asked, error) from error


def safetensors_values(asked: str, path: Path, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors of a file in float32, by the names that `names` gives to them."""
    try:
        with safe_open(path, framework="pt") as file:
            return {today: file.get_tensor(name).to(torch.float32) for name, today in names.items()}
    except SafetensorError as error:
        raise _damaged(asked, error) from error


def matrix_shape(asked: str, shapes: Shapes, name: str) -> tuple[int, int]:
    """The shape of a matrix that everything else is measured by.

    Raises:
        LabError: If it is missing, or no matrix.
    """
    match shapes.get(name):
        case (int(rows), int(columns)):
            return rows, columns
        case None:
            raise LabError(asked, f"Its weights lack {name}; they have: {', '.join(sorted(shapes))}", "Fetch them again, or choose another")
        case shape:
            raise LabError(asked, f"Its {name} is {shape}, no matrix", "Fetch the weights again, or choose another SAE")


def jumprelu_config(d_in: int, d_sae: int, hook_name: str | None, model_name: str | None) -> dict[str, Any]:
    """The settings that the JumpReLU SAEs of Gemma Scope and Llama Scope share."""
    return {
        "architecture": "jumprelu",
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "k": None,
        "metadata": {"hook_name": hook_name, "model_name": model_name},
    }


def _damaged(asked: str, error: Exception) -> LabError:
    return LabError(asked, f"Its weights are damaged: {error}", "Copy or fetch them again")
