"""The weights of an SAE, out of a folder in sae-lens's format or a published release, made into one FrozenSAE in float32."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lorasae.config import SAERef
from lorasae.core.hook_points import parse_hook_point
from lorasae.core.sae import FrozenSAE, sae_from_weights
from lorasae.errors import LabError
from lorasae.sources.catalog import sae_config
from lorasae.sources.fetching import Progress, fetch
from lorasae.sources.sae_formats.formats import format_of, published
from lorasae.sources.sae_formats.sae_lens_files import stored
from lorasae.sources.sae_formats.stored import Stored

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
    path = folder / "sae_weights.safetensors"
    if not path.is_file():
        raise LabError(asked, "There is no sae_weights.safetensors in it", "Copy the weights there; pickles (.pt) are not opened")
    _check_settings(asked, config)
    return frozen_sae(asked, stored(asked, config, path))


@dataclass(frozen=True)
class FetchedSAE:
    """A published SAE, and the commit it is of."""

    sae: FrozenSAE
    commit: str


def fetch_sae(ref: SAERef, revision: str | None = None, progress: Progress | None = None) -> FetchedSAE:
    """The SAE of a release in sae-lens's registry, from the Hub's cache or else fetched; never through a pickle.

    Args:
        ref: Release and id.
        revision: The commit to take it of; None: the newest.
        progress: Told as bytes arrive.

    Raises:
        LabError: If it cannot be fetched, is damaged, or turns out to be no SAE that can be spliced where it is said to sit.
    """
    asked, source = f"The SAE {ref} was asked for", published(ref)
    layout = format_of(asked, source)
    paths = {f"{source.path}/{name}": name for name in (*layout.files, *layout.optional)}
    needed, optional = list(paths)[: len(layout.files)], list(paths)[len(layout.files) :]
    fetched = fetch(asked, source.repository, needed, optional=optional, revision=revision, progress=progress)
    found = layout.read(asked, source, {paths[name]: path for name, path in fetched.files.items()})
    _check_place(asked, source.card.hook_point, found.config["metadata"].get("hook_name"))
    return FetchedSAE(frozen_sae(asked, found, source.norm_factor), fetched.commit)


def frozen_sae(asked: str, found: Stored, norm_factor: float | None = None) -> FrozenSAE:
    """An SAE out of its files, checked; whatever precision they were stored in, its tensors are float32.

    Args:
        asked: What was asked for, as a sentence.
        found: Settings, shapes and tensors.
        norm_factor: For SAEs trained on activations of mean norm sqrt(d_in): what activations of the model are to be multiplied by.
    """
    config = found.config
    _check_settings(asked, config)
    _check_tensors(asked, config, found.shapes)
    weights = found.read()
    for name, tensor in weights.items():
        if not all(bound.isfinite() for bound in tensor.aminmax()):  # which a nan passes through; isfinite of a tensor would double it
            raise LabError(asked, f"Its tensor {name} holds values that are not finite", "Fetch the weights again, or choose another SAE")
    if norm_factor is not None and config["normalize_activations"] == "expected_average_only_in":
        weights["W_enc"].mul_(norm_factor)
        weights["W_dec"].div_(norm_factor)
        weights["b_dec"].div_(norm_factor)
    if config["rescale_acts_by_decoder_norm"]:
        weights = _decoder_norms_folded(weights)
    normalisation = _NORMALISATIONS[config["normalize_activations"]]
    if normalisation == "none" and (config["metadata"].get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"):
        normalisation = "centred"
    return sae_from_weights(
        config["architecture"], weights, k=config["k"], subtract_b_dec=config["apply_b_dec_to_input"], normalisation=normalisation
    )


def _check_place(asked: str, listed: str | None, stated: str | None) -> None:
    """Hold the place that the SAE's files state against the one that the registry lists; names that cannot be read say nothing."""
    try:
        places = {parse_hook_point(name) for name in (listed, stated) if name}
    except LabError:
        return
    if len(places) > 1:
        raise LabError(asked, f"It is listed at {listed}, but its own settings say {stated}", "Choose another SAE")


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
