"""sae-lens's registry of published SAEs, read from the installed package without importing it: no torch, no network.

Its rows have no fields for layer, width or site; these stand in ids and paths, each family's in its own way.
"""

import math
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from lorasae.config import SAERef
from lorasae.errors import LabError, nearest
from lorasae.sources.sae_card import SAECard, refuse_unspliceable

_PICKLE_LOADERS = ("connor_rob_hook_z", "dictionary_learning_1", "deepseek_r1", "goodfire", "qwen_scope")
_STATED_AT = r"blocks\.\d+\.(?:attn\.)?hook_(?:resid_pre|resid_mid|resid_post|attn_out|mlp_out|z)"
_SITE_MARKS = {  # in "repository/path" of Gemma Scope (-res/), Gemma Scope 2 (/resid_post) and Llama Scope (L12R)
    r"-res/|/resid_post|L\d+R\b": "hook_resid_post",
    r"-mlp/|/mlp_out|L\d+M\b": "hook_mlp_out",
    r"-att/|/attn_out": "attn.hook_z",
    r"L\d+A\b": "hook_attn_out",
}
_TRUE_MODEL = {"gemma-scope-9b-it-res": "gemma-2-9b-it"}  # where the registry names another than the weights were trained on


@cache
def registry() -> dict[str, dict[str, Any]]:
    """sae-lens's table of releases. Locating the package does not run it, which would take seconds."""
    spec = find_spec("sae_lens")
    if spec is None or spec.origin is None:
        raise LabError("An SAE of sae-lens's registry was asked for", "sae-lens is not installed", "pip install sae-lens")
    with Path(spec.origin).with_name("pretrained_saes.yaml").open(encoding="utf-8") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def registered_card(ref: SAERef) -> SAECard:
    """The card of an SAE of the registry.

    Raises:
        LabError: For an unknown release or id, what is no SAE of one place, and weights that exist only as a pickle.
    """
    release = registry().get(ref.release)
    if release is None:
        raise _unknown_release(ref.release)
    rows = {row["id"]: row for row in release["saes"]}
    if ref.sae_id not in rows:
        known = nearest(ref.sae_id, list(rows), 5)
        raise LabError(f"The SAE {ref} was asked for", f"The release has {len(rows)} SAEs, none of that id", f"Nearest: {known}")
    row, loader = rows[ref.sae_id], release.get("conversion_func") or "sae_lens"
    path = str(row["path"])
    refuse_unspliceable(ref, f"{loader} {path}")
    if loader in _PICKLE_LOADERS:
        raise LabError(
            f"The SAE {ref} was asked for",
            "Its weights are published only as a pickle, which could run any code when opened",
            "Choose an SAE published as safetensors or npz, or convert it elsewhere and give the folder",
        )
    average_l0 = re.search(r"average_l0_(\d+)", path)
    return SAECard(
        ref=ref,
        architecture="jumprelu" if loader.startswith(("gemma", "llama_scope")) else None,
        d_sae=_width(path),
        hook_point=_registered_hook_point(ref.sae_id, release["repo_id"], path),
        model=_TRUE_MODEL.get(ref.release, release["model"]),
        l0=row.get("l0", float(average_l0[1]) if average_l0 else None),
        fve=row.get("variance_explained"),
    )


def _registered_hook_point(sae_id: str, repository: str, path: str) -> str | None:
    if stated := re.match(_STATED_AT, sae_id):
        return stated[0]
    if path.startswith("embedding/"):
        return "hook_embed"
    layer = re.search(r"layer_(\d+)|L(\d+)[RMA]\b", path)
    sites = [site for mark, site in _SITE_MARKS.items() if re.search(mark, f"{repository}/{path}")]
    return f"blocks.{layer[1] or layer[2]}.{sites[0]}" if layer and sites else None


def _width(path: str) -> int | None:
    """Gemma Scope rounds widths in its names: 16k is 2^14, 131k 2^17, 1m 2^20."""
    width = re.search(r"width_(\d+)([km])", path)
    return 2 ** round(math.log2(int(width[1]) * (1000 if width[2] == "k" else 1_000_000))) if width else None


def _unknown_release(name: str) -> LabError:
    releases = registry()
    asked, found = f"The release {name!r} was asked for", "It is neither a release of sae-lens's registry nor a local folder"
    if of_repository := [release for release, row in releases.items() if row["repo_id"] == name]:
        return LabError(asked, "It is a repository; sae-lens knows its SAEs under releases", f"Choose among: {', '.join(of_repository)}")
    return LabError(asked, found, f"Nearest: {nearest(name, ['pocket-scope', *releases], 5)}")
