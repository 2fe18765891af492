"""Gemma Scope: one `params.npz` per SAE and no settings; where it sits stands in the name of its folder.

The archive is read member by member, never through pickle, so that memory holds each tensor once.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from lorasae.errors import LabError
from lorasae.sources.sae_formats.stored import Published, Stored, jumprelu_config, matrix_shape

FILES = ("params.npz",)


def read(asked: str, published: Published, files: Mapping[str, Path]) -> Stored:
    """An SAE of Gemma Scope; its sizes are those of its arrays, whatever its folder is called."""
    path = files["params.npz"]
    stored = _shapes(asked, path)
    names = {name: f"W_{name[2:]}" if name.startswith("w_") else name for name in stored}
    shapes = {names[name]: shape for name, shape in stored.items()}
    d_in, d_sae = matrix_shape(asked, shapes, "W_enc")
    config = jumprelu_config(d_in, d_sae, published.card.hook_point, published.card.model)
    return Stored(config, shapes, lambda: _values(asked, path, names))


def _shapes(asked: str, path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each array, from its header.

    Raises:
        LabError: If the file is no such archive, or an array holds Python objects rather than numbers.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    read_header = npy.read_array_header_1_0 if npy.read_magic(file)[0] == 1 else npy.read_array_header_2_0
                    shape, _, dtype = read_header(file)
                if dtype.kind != "f":
                    found = f"Its array {member} holds {dtype}, no floating-point numbers"
                    raise LabError(asked, found, "Choose an SAE whose arrays are numbers; Python objects (pickles) are not opened")
                shapes[member.removesuffix(".npy")] = shape
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise _damaged(asked, error) from error
    return shapes


def _values(asked: str, path: Path, names: Mapping[str, str]) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {today: torch.from_numpy(archive[name].astype(np.float32, copy=False)) for name, today in names.items()}
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise _damaged(asked, error) from error


def _damaged(asked: str, error: Exception) -> LabError:
    return LabError(asked, f"Its weights are damaged: {error}", "Copy or fetch them again")
