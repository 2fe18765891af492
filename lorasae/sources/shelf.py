"""All SAEs there are to choose from, as the catalog page goes through them: searched, filtered, counted, in pages. No torch, no network."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lorasae.config import SAERef
from lorasae.sources.catalog import POCKET_MODEL, models, pocket_saes, saes_of
from lorasae.sources.published_models import SMALL_AND_OPEN
from lorasae.sources.registered_saes import registered_saes
from lorasae.sources.sae_card import SAECard, site_of
from lorasae.sources.search import Found, Shelf, by_name

_FACETS: dict[str, Callable[[SAECard], Any]] = {
    "model": lambda card: card.model,
    "site": site_of,
    "width": lambda card: card.d_sae,
}


@dataclass(frozen=True)
class Page:
    """A part of what was found, and the counts of the whole."""

    cards: tuple[SAECard, ...]
    n_found: int
    facets: dict[str, dict[Any, int]]  # model, site, width -> value -> how many there would be, with the other filters as they are
    by_name: bool
    feature: int | None
    refusal: str | None  # why what was pasted is not offered, if that is so


def page(query: str, filters: Mapping[str, str], offset: int, most: int) -> Page:
    """What `query` means, narrowed by `filters` (some of model, site, width), from the offset-th on."""
    found = search(query)
    cards = _joined(found.cards)
    shown = tuple(_narrowed(cards, filters))
    return Page(
        cards=shown[offset : offset + most],
        n_found=len(shown),
        facets={name: _counts(name, _narrowed(cards, {**filters, name: ""})) for name in _FACETS},
        by_name=found.by_name,
        feature=found.feature,
        refusal=None if found.cards else _refusal(query),
    )


def search(query: str) -> Found:
    """The SAEs that `query` means, of all there are."""
    return shelf().search(query)


@cache
def shelf() -> Shelf:
    """Built in first, then small models that nobody has to be asked for, then by name; each model from its lowest layer up."""
    order = sorted((offer.model for offer in models()), key=lambda model: (model != POCKET_MODEL, model not in SMALL_AND_OPEN))
    return Shelf(tuple(card for model in order for card in (pocket_saes() if model == POCKET_MODEL else saes_of(model))))


def twins(card: SAECard) -> tuple[SAERef, ...]:
    """The other entries of the same folder: "canonical" ones, and those they stand for."""
    return tuple(ref for ref in _by_place().get((card.repository, card.path), ()) if ref != card.ref)


def _joined(cards: Iterable[SAECard]) -> tuple[SAECard, ...]:
    """Of entries that stand for the same folder, the one called as its folder is: its name says the L0."""
    kept: dict[Any, SAECard] = {}
    for card in cards:
        place = (card.repository, card.path) if card.repository else card.ref
        if place not in kept or card.ref.sae_id == card.path:
            kept[place] = card
    return tuple(kept.values())


@cache
def _by_place() -> dict[tuple[str | None, str | None], tuple[SAERef, ...]]:
    places: dict[tuple[str | None, str | None], tuple[SAERef, ...]] = {}
    for card in registered_saes().cards:
        place = (card.repository, card.path)
        places[place] = (*places.get(place, ()), card.ref)
    return places


def _narrowed(cards: Iterable[SAECard], filters: Mapping[str, str]) -> Iterable[SAECard]:
    wanted = [(_FACETS[name], value) for name, value in filters.items() if value]
    return [card for card in cards if all(str(said(card)) == value for said, value in wanted)] if wanted else cards


def _counts(name: str, cards: Iterable[SAECard]) -> dict[Any, int]:
    counts = Counter(map(_FACETS[name], cards))
    return dict(sorted(counts.items()) if name == "width" else counts.most_common())


def _refusal(query: str) -> str | None:
    named = by_name(query, registered_saes().refused)
    return f"{named[0].ref} is not offered. {named[0].sentence}." if named else None
