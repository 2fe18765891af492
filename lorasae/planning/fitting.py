"""Whether model, SAEs, adapter and text fit together, as far as metadata tells: what a form can say at once. No torch.

The run itself checks the same again on the model's modules, and then by measurement (lorasae/sources/loading.py).
"""

import re

from lorasae.config import ModelConfig, RunConfig
from lorasae.costs.estimates import placement
from lorasae.costs.model_sizes import ModelSizes, sizes_of
from lorasae.errors import LabError, nearest
from lorasae.planning.probing import placed_saes
from lorasae.sources.catalog import HUB_MODELS, POCKET_MODEL, hub_id, is_folder, models, resolve, site_of
from lorasae.sources.sae_card import SAECard


def refuse_misfits(config: RunConfig) -> None:
    """Tell the first thing that cannot work.

    Raises:
        LabError: For names that nothing has, an SAE of another model or place, two at one place, and settings beyond the model's sizes.
    """
    refuse_unknown_model(config.model.model)
    cards = [resolve(ref) for ref in config.saes]
    for card in cards:
        _refuse_other_model(card, config.model.model)
    _refuse_shared_places(cards)
    sizes = sizes_of(config.model)
    if sizes is None:
        return
    for card in cards:
        _refuse_no_place(card, sizes)
    refuse_too_long(config.data.context_length, config.model)
    placement(config.adapter, sizes, placed_saes(config, sizes))


def refuse_too_long(context_length: int, model: ModelConfig) -> None:
    """Sequences longer than the positions a model knows.

    Raises:
        LabError: With the largest length there is.
    """
    most = max_context(model)
    if most and context_length > most:
        raise LabError(
            f"Sequences of {context_length} tokens were asked for",
            f"The model knows positions up to {most}",
            f"Set data.context_length to at most {most}",
        )


def max_context(model: ModelConfig) -> int | None:
    """The most positions a model knows; None where its sizes are unknown."""
    sizes = sizes_of(model)
    return sizes.max_context if sizes else None


def refuse_unknown_model(name: str) -> None:
    """A model is the pocket model, a folder, or an id of the Hub in two parts.

    Raises:
        LabError: For anything else; the nearest names are told.
    """
    if name == POCKET_MODEL or is_folder(name) or name in HUB_MODELS or re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return
    known = [offer.model for offer in models()]
    raise LabError(
        f"The model {name!r} was asked for" if name else "No model was chosen",
        "It is neither built in, nor a folder, nor an id on the Hub",
        f"Nearest: {nearest(name, known)}",
    )


def _refuse_other_model(card: SAECard, model: str) -> None:
    may_be_any = is_folder(model) and model != POCKET_MODEL  # a folder could hold anything
    stated = card.model
    if stated is None or may_be_any or is_folder(stated) or stated.startswith((".", "/", "~")):
        return
    if _short(stated) != _short(model):
        asked = f"The SAE {card.ref} was asked for in the model {model}"
        raise LabError(asked, f"It was trained on {stated}", f"Choose the model {hub_id(stated)}, or an SAE of {model}")


def _short(model: str) -> str:
    return hub_id(model).rpartition("/")[2].lower()


def _refuse_shared_places(cards: list[SAECard]) -> None:
    seen: dict[tuple[int, str], SAECard] = {}
    for card in cards:
        place = (card.layer, site_of(card))
        if place in seen:
            asked = f"The SAEs {seen[place].ref} and {card.ref} were asked for together"
            raise LabError(asked, f"Both sit at layer {card.layer}, {place[1]}", "Keep one SAE per place")
        seen[place] = card


def _refuse_no_place(card: SAECard, sizes: ModelSizes) -> None:
    asked = f"The SAE {card.ref} was asked for"
    if card.layer >= sizes.n_layers:
        found = f"It belongs to layer {card.layer}; the model has {sizes.n_layers} layers, 0 to {sizes.n_layers - 1}"
        raise LabError(asked, found, "Choose an SAE of one of these layers")
    d_in = sizes.n_heads * sizes.d_head if site_of(card) == "attention heads" else sizes.d_model
    if card.d_in is not None and card.d_in != d_in:
        found = f"It reads {card.d_in} dimensions, the model has {d_in} there"
        raise LabError(asked, found, "Choose an SAE that was trained on this model")
