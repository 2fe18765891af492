"""Where Neuronpedia shows a feature: addresses made from metadata, nothing is fetched."""

from typing import Any

from lorasae.sources.sae_card import SAECard

_SITE = "https://www.neuronpedia.org"


def neuronpedia_id(card: SAECard) -> str | None:
    """`model/source` of an SAE that Neuronpedia knows. Its labels were written for the original model."""
    return card.neuronpedia


def source_address(card: SAECard) -> str | None:
    """The page of an SAE."""
    source = neuronpedia_id(card)
    return None if source is None else f"{_SITE}/{source}"


def feature_links(source: str | None, feature: int) -> dict[str, Any] | None:
    """Page and embeddable view of one feature."""
    if source is None:
        return None
    return {"url": f"{_SITE}/{source}/{feature}", "embed": f"{_SITE}/{source}/{feature}?embed=true"}
