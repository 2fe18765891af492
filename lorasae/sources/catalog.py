"""Which models and SAEs exist, and what is stated about them before any weight is seen. Metadata only: no torch, no network.

An SAE is named in one of three ways: the Pocket Scope (`pocket-scope`), a local folder in sae-lens's format, or a release of sae-lens's
registry (`registered_saes.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lorasae.config import SAERef
from lorasae.errors import LabError, nearest
from lorasae.sources.published_models import hub_id
from lorasae.sources.registered_saes import registered_card, registered_saes
from lorasae.sources.sae_card import SAECard, refuse_unspliceable, site_of

POCKET_MODEL = "pocket"
POCKET_RELEASE = "pocket-scope"
ASSETS = Path(__file__).resolve().parents[2] / "assets"
HUB_MODELS = (  # models with published SAEs, suggested when a name is mistyped
    "openai-community/gpt2",
    "EleutherAI/pythia-70m-deduped",
    "google/gemma-2-2b",
    "google/gemma-2-9b",
    "google/gemma-2-9b-it",
    "google/gemma-3-270m",
    "google/gemma-3-1b-pt",
    "google/gemma-3-4b-pt",
    "meta-llama/Llama-3.1-8B",
)


@dataclass(frozen=True)
class ModelOffer:
    """A model that SAEs exist for."""

    model: str  # as RunConfig names it
    n_saes: int
    needs_hub: bool


def resolve(ref: SAERef) -> SAECard:
    """The card of the SAE that `ref` names.

    Raises:
        LabError: For an unknown release or id (the nearest names are told), a folder that is not an SAE, or an SAE that cannot be put
            into a model's stream: a transcoder, or one published only as a pickle.
    """
    if ref.release == POCKET_RELEASE:
        return _pocket_card(ref)
    if is_folder(ref.release):
        return _local_card(ref)
    return registered_card(ref)


def is_folder(name: str) -> bool:
    """Whether `name`, which may be anything a person typed, is a folder of this machine."""
    try:
        return bool(name) and Path(name).is_dir()  # "" would be the folder we are in
    except OSError:  # too long for a path, or not ours to look into
        return False


# What there is to choose from


def models() -> tuple[ModelOffer, ...]:
    """The models that SAEs exist for: the pocket model first, then those of the registry, by name."""
    return (ModelOffer(POCKET_MODEL, len(pocket_saes()), False), *(ModelOffer(name, len(saes), True) for name, saes in _hub_saes().items()))


def saes_of(model: str) -> tuple[SAECard, ...]:
    """Every SAE of a model that can be put into its stream, lowest layer first; none for models that nobody published SAEs for."""
    if model == POCKET_MODEL:
        return tuple(sorted(pocket_saes(), key=_order))
    return _hub_saes().get(hub_id(model), ())


def alike(card: SAECard, cards: tuple[SAECard, ...]) -> SAECard:
    """Of `cards`, the one most like `card`: same site, then width, then L0. What a change of layer chooses."""
    return min(cards, key=lambda other: (site_of(other) != site_of(card), *_unlikeness(other, card)))


def narrower(card: SAECard, model: str) -> tuple[SAECard, ...]:
    """The SAEs at the same place of `model` with fewer features, one of each width, most like `card` in L0; the widest first."""
    at_place = [other for other in saes_of(model) if (other.layer, site_of(other)) == (card.layer, site_of(card))]
    widths = sorted({other.d_sae for other in at_place if other.d_sae and other.d_sae < (card.d_sae or 0)}, reverse=True)
    return tuple(alike(card, tuple(other for other in at_place if other.d_sae == width)) for width in widths)


@cache
def _hub_saes() -> dict[str, tuple[SAECard, ...]]:
    """The registry's SAEs by model."""
    found: dict[str, list[SAECard]] = {}
    for card in registered_saes().cards:
        found.setdefault(card.model or "", []).append(card)
    return {model: tuple(sorted(found[model], key=_order)) for model in sorted(found, key=str.lower)}


def _order(card: SAECard) -> tuple[Any, ...]:
    """By place; at one place the publisher's own choice first, then narrow before wide and sparse before dense."""
    return card.layer, site_of(card) != "after the layer", site_of(card), "canonical" not in str(card.ref), card.d_sae or 0, card.l0 or 0


# The Pocket Scope


def pocket_saes() -> list[SAECard]:
    """The SAEs of the pocket model, in the order of their index."""
    return [_card_of_entry(entry) for entry in _pocket_index()["saes"]]


def default_pocket_sae() -> SAERef:
    """The SAE that the app opens with."""
    return SAERef(release=POCKET_RELEASE, sae_id=_pocket_index()["default"])


def saes_above(ref: SAERef) -> tuple[SAERef, ...]:
    """The pocket SAEs at higher layers than the pocket SAE `ref`, nearest layer first, then those most like it; none for other releases."""
    if ref.release != POCKET_RELEASE:
        return ()
    own = resolve(ref)
    above = [card for card in pocket_saes() if card.layer > own.layer]
    return tuple(card.ref for card in sorted(above, key=lambda card: (card.layer, _unlikeness(card, own))))


def _unlikeness(card: SAECard, other: SAECard) -> tuple[float, float]:
    """How far apart two SAEs are in width, then in L0."""
    return abs((card.d_sae or 0) - (other.d_sae or 0)), abs((card.l0 or 0) - (other.l0 or 0))


def _pocket_card(ref: SAERef) -> SAECard:
    cards = {card.ref.sae_id: card for card in pocket_saes()}
    sae_id = ref.sae_id or default_pocket_sae().sae_id
    if sae_id not in cards:
        raise LabError(f"The pocket SAE {sae_id!r} was asked for", "There is none of that id", f"Nearest: {nearest(sae_id, list(cards))}")
    return cards[sae_id]


def _pocket_index() -> dict[str, Any]:
    path = ASSETS / "demo" / "saes" / "index.json"
    if not path.exists():
        raise LabError("The pocket SAEs were asked for", f"Their index is not at {path}", "Build them: python -m lorasae.demo.build")
    return json.loads(path.read_text(encoding="utf-8"))


def _card_of_entry(entry: Mapping[str, Any]) -> SAECard:
    return SAECard(
        ref=SAERef(release=POCKET_RELEASE, sae_id=entry["sae_id"]),
        architecture=entry.get("architecture"),
        d_in=entry["d_in"],
        d_sae=entry["d_sae"],
        hook_point=entry["hook_point"],
        model=POCKET_MODEL,
        l0=entry["l0"],
        fve=entry["fve"],
        folder=ASSETS / "demo" / "saes" / entry["path"],
    )


# Local folders


def _local_card(ref: SAERef) -> SAECard:
    folder = Path(ref.release) / ref.sae_id
    config = sae_config(folder)
    architecture, metadata = str(config["architecture"]), config["metadata"]
    refuse_unspliceable(ref, architecture, metadata.get("hook_name"), metadata.get("hook_name_out"))
    return SAECard(
        ref=ref,
        architecture=architecture,
        d_in=_count(folder, config, "d_in"),
        d_sae=_count(folder, config, "d_sae"),
        hook_point=metadata.get("hook_name"),
        model=metadata.get("model_name"),
        l0=metadata.get("l0"),
        fve=metadata.get("fve"),
        folder=folder,
    )


def sae_config(folder: Path) -> dict[str, Any]:
    """The cfg.json of a folder in sae-lens's format, with the defaults that sae-lens gives to older files filled in.

    Raises:
        LabError: If there is none, or it is not JSON; the SAEs in subfolders are named where there are some.
    """
    path = folder / "cfg.json"
    if not path.is_file():
        raise _no_config(folder)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of UTF-8 alike
        raise LabError(f"The SAE in {folder} was asked for", f"Its cfg.json cannot be read: {error}", "Copy the file again") from None
    if not isinstance(config, dict):
        raise LabError(f"The SAE in {folder} was asked for", "Its cfg.json holds no settings", "Copy the file again")
    return with_defaults(config)


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """An SAE's config in today's form: before sae-lens 6 the metadata stood among the settings, under older names."""
    config = {"architecture": "standard", "apply_b_dec_to_input": True, "k": None, "rescale_acts_by_decoder_norm": False, **config}
    if (config.get("activation_fn") or config.get("activation_fn_str")) == "topk":
        config |= {"architecture": "topk", "k": config.get("activation_fn_kwargs", {}).get("k")}
    if config.get("normalize_activations") in (None, False):
        config["normalize_activations"] = "none"
    if not isinstance(config.get("metadata"), dict):
        config["metadata"] = {**config, "hook_name": config.get("hook_name") or config.get("hook_point")}
    return config


def _no_config(folder: Path) -> LabError:
    inside = [str(path.parent.relative_to(folder)) for depth in (1, 2, 3) for path in sorted(folder.glob("*/" * depth + "cfg.json"))]
    if inside:
        remedy = f"Name one of the SAEs inside it as sae_id: {', '.join(inside[:8])}"
    elif any(folder.glob("*.pt*")):
        remedy = "A pickle (.pt) could run any code and is not opened; save the SAE with sae-lens's save_model"
    else:
        remedy = "Give a folder with cfg.json and sae_weights.safetensors, as sae-lens's save_model writes it"
    return LabError(f"The SAE in {folder} was asked for", "There is no cfg.json in it", remedy)


def _count(folder: Path, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise LabError(f"The SAE in {folder} was asked for", f"Its cfg.json states {key} = {value!r}", "Correct or copy cfg.json")
    return value
