"""What the page of all SAEs asks: a part of what a query and its filters leave, with counts."""

from typing import Annotated, Any

from fastapi import FastAPI, Query

from lorasae.planning.to_download import bytes_of
from lorasae.sources.catalog import POCKET_MODEL
from lorasae.sources.neuronpedia import feature_links, source_address
from lorasae.sources.published_models import SMALL_AND_OPEN, is_gated
from lorasae.sources.registered_saes import registered_saes
from lorasae.sources.sae_card import SAECard
from lorasae.sources.search import MOST_CHARACTERS
from lorasae.sources.shelf import page, twins
from lorasae.sources.still_to_fetch import card_is_here
from lorasae.web.adapt_routes import row_of

ROWS = 50

Text = Annotated[str, Query(max_length=MOST_CHARACTERS)]


def add_catalog_routes(app: FastAPI) -> None:
    """`/lab/catalog/search`."""

    @app.get("/lab/catalog/search")
    def search(
        q: Text = "", model: Text = "", site: Text = "", width: Text = "", offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0
    ) -> dict[str, Any]:
        found = page(q, {"model": model, "site": site, "width": width}, offset, ROWS)
        return {
            "n_found": found.n_found,
            "offset": offset,
            "by_name": found.by_name,
            "feature": found.feature,
            "refusal": found.refusal,
            "rows": [_row(card, found.feature) for card in found.cards],
            "facets": {name: [{"value": value, "n": n} for value, n in counts.items()] for name, counts in found.facets.items()},
            "small": list(SMALL_AND_OPEN),
            "refused": _refused(),
        }


def _row(card: SAECard, feature: int | None) -> dict[str, Any]:
    links = feature_links(card.neuronpedia, feature) if feature is not None else None
    return {
        **row_of(card),
        "model": card.model,
        "also": list(map(str, twins(card))),
        "canonical": any("canonical" in str(ref) for ref in (card.ref, *twins(card))),
        "gated": card.model != POCKET_MODEL and is_gated(card.model or ""),
        "built_in": card.model == POCKET_MODEL,
        "here": card_is_here(card),
        "n_bytes": bytes_of(card),
        "neuronpedia": links["url"] if links else source_address(card),
    }


def _refused() -> list[dict[str, Any]]:
    """Why what is in sae-lens's registry and not offered is not, most frequent first."""
    registered = registered_saes()
    sentences = {each.reason: each.sentence for each in registered.refused}
    return [{"reason": reason, "n": n, "sentence": sentences[reason]} for reason, n in registered.reasons.most_common()]
