"""The weights of an SAE: a folder in sae-lens's format, or a release fetched through sae-lens, made into one FrozenSAE in float32."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lorasae.config import SAERef
from lorasae.core.sae import FrozenSAE, sae_from_weights
from lorasae.errors import LabError
from lorasae.sources.catalog import sae_config, with_defaults
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.sources.registry import registry
from lorasae.sources.sae_card import refuse_unspliceable

_BIASES = {"standard": ("b_enc",), "topk": ("b_enc",), "jumprelu": ("b_enc", "threshold"), "gated": ("b_gate", "r_mag", "b_mag")}
_NORMALISATIONS = {
    "none": "none",
    "expected_average_only_in": "none",  # a factor that sae-lens folds into the weights where it knows it, and skips where it does not
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm_rescale",
}


def read_sae(folder: Path) -> FrozenSAE:
    """The SAE in `folder`: `cfg.json` and `sae_weights.safetensors`.

    Raises:
        LabError: For an architecture that is not known, and for weights that are missing, damaged, of another shape or not finite.
    """
    asked, config = f"The SAE in {folder} was asked for", sae_config(folder)
    _check_settings(asked, config)
    path = folder / "sae_weights.safetensors"
    if not path.is_file():
        raise LabError(asked, "There is no sae_weights.safetensors in it", "Copy the weights there; pickles (.pt) are not opened")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            _check_tensors(asked, config, {name: tuple(part.get_shape()) for name, part in slices.items()})
            weights = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise LabError(asked, f"Its weights are damaged: {error}", "Copy or fetch them again") from error
    return frozen_sae(asked, config, weights)


def fetch_sae(ref: SAERef) -> FrozenSAE:
    """The SAE of a release in sae-lens's registry, fetched or from the Hub's cache.

    Raises:
        LabError: If it cannot be fetched, or turns out to be no SAE that can be spliced.
    """
    from sae_lens import SAE  # here, because it takes seconds and most runs do without

    asked = f"The SAE {ref} was asked for"
    with hub_problems_told(asked, registry()[ref.release]["repo_id"], ()):
        fetched = SAE.from_pretrained(ref.release, ref.sae_id)
    config = with_defaults(fetched.cfg.to_dict())
    refuse_unspliceable(ref, config["architecture"], config["metadata"].get("hook_name"), config["metadata"].get("hook_name_out"))
    weights = {name: tensor.detach() for name, tensor in fetched.state_dict().items()}
    _check_settings(asked, config)
    _check_tensors(asked, config, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    return frozen_sae(asked, config, weights)


def frozen_sae(asked: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> FrozenSAE:
    """Checked settings and tensors made into an SAE; whatever precision they were stored in, they are float32 here."""
    weights = {name: tensor.to(torch.float32) for name, tensor in weights.items()}
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise LabError(asked, f"Its tensor {name} holds values that are not finite", "Fetch the weights again, or choose another SAE")
    if config["rescale_acts_by_decoder_norm"]:
        weights = _decoder_norms_folded(weights)
    normalisation = _NORMALISATIONS[config["normalize_activations"]]
    if normalisation == "none" and (config["metadata"].get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"):
        normalisation = "centred"
    return sae_from_weights(
        config["architecture"], weights, k=config["k"], subtract_b_dec=config["apply_b_dec_to_input"], normalisation=normalisation
    )


def _decoder_norms_folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """TopK SAEs may rank features by pre-activation times decoder norm: the same as an SAE whose decoder rows have norm 1."""
    norms = weights["W_dec"].norm(dim=-1).clamp(min=1e-8)
    return {
        **weights,
        "W_enc": weights["W_enc"] * norms,
        "b_enc": weights["b_enc"] * norms,
        "W_dec": weights["W_dec"] / norms[:, None],
    }


def _check_settings(asked: str, config: Mapping[str, Any]) -> None:
    architecture, normalisation = config["architecture"], config["normalize_activations"]
    if "batchtopk" in architecture:
        raise LabError(
            asked,
            f"It is a training checkpoint ({architecture}): the threshold used outside training is not in it",
            "Save it with sae-lens's save_inference_model, which makes a jumprelu SAE of it",
        )
    if architecture not in _BIASES:
        raise LabError(asked, f"Its architecture {architecture!r} is not known here", f"Known: {', '.join(_BIASES)}")
    if normalisation not in _NORMALISATIONS:
        raise LabError(
            asked, f"It normalises its input by {normalisation!r}", f"Known: {', '.join(_NORMALISATIONS)}; fold it into the weights"
        )
    if architecture == "topk" and not (isinstance(config["k"], int) and 1 <= config["k"] <= config["d_sae"]):
        raise LabError(asked, f"It keeps k = {config['k']} of {config['d_sae']} features", "Correct k in its cfg.json")


def _check_tensors(asked: str, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Names and shapes, before any value is read."""
    d_in, d_sae = config["d_in"], config["d_sae"]
    expected = {
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
        **dict.fromkeys(_BIASES[config["architecture"]], (d_sae,)),
    }
    if missing := sorted(set(expected) - set(shapes)):
        raise LabError(
            asked, f"Its weights lack {', '.join(missing)}", "Save it for inference: save_model or save_inference_model of sae-lens"
        )
    if odd := sorted(set(shapes) - set(expected)):
        raise LabError(
            asked, f"Its weights hold {', '.join(odd)}, unknown to a {config['architecture']} SAE", "Check the architecture in cfg.json"
        )
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise LabError(asked, f"Its {name} is {shapes[name]}, but cfg.json means {shape}", "Copy cfg.json and weights from one source")
