"""What the Hub has to send before a run can begin: how much, of what, and whether one must sign in for it. Reckoned, never asked."""

from dataclasses import dataclass
from typing import Any

from lorasae.config import RunConfig
from lorasae.costs.model_sizes import is_here, sizes_of
from lorasae.sources.catalog import POCKET_MODEL, is_folder, resolve
from lorasae.sources.published_models import is_gated
from lorasae.sources.sae_card import SAECard
from lorasae.sources.still_to_fetch import card_is_here, model_is_here

_HALF = ("fnlp/Llama3_1-8B-Base-",)  # SAEs stored as bfloat16: Llama Scope (8x: 537 MB, 32x: 2.15 GB); its R1 successor is not (1.07 GB)


@dataclass(frozen=True)
class Download:
    """One thing that a run needs."""

    name: str
    what: str  # model or SAE
    n_bytes: float | None  # None: its size is not known here
    here: bool


def downloads(config: RunConfig) -> list[Download]:
    """The model and every SAE of a run; those built in or in folders are here.

    Raises:
        LabError: For an SAE that is not known.
    """
    model, sizes = config.model, sizes_of(config.model)
    n_bytes = sizes.n_parameters * sizes.stored_bytes if sizes else None
    cards = [resolve(ref) for ref in config.saes]
    return [
        Download(model.model, "model", n_bytes, is_here(model) and model_is_here(model)),
        *(Download(str(card.ref), "SAE", bytes_of(card), card_is_here(card)) for card in cards),
    ]


def bytes_of(card: SAECard) -> float | None:
    """The file of an SAE: two matrices, two rows of the features' numbers and one of the stream's, mostly as float32."""
    if not card.d_in or not card.d_sae:
        return None
    size = 2 if (card.repository or "").startswith(_HALF) else 4
    return size * (2 * card.d_in * card.d_sae + 2 * card.d_sae + card.d_in)


def download_forecast(config: RunConfig) -> dict[str, Any]:
    """The same as JSON, with what is left to fetch and whether the Hub asks for a login."""
    parts = downloads(config)
    left = [part for part in parts if not part.here]
    model = config.model.model
    gated = model != POCKET_MODEL and not is_folder(model) and is_gated(model)
    return {
        "parts": [vars(part) for part in parts],
        "to_fetch_bytes": sum(part.n_bytes or 0 for part in left),
        "n_unknown": sum(part.n_bytes is None for part in left),
        "gated": gated,
        "gate": f"https://huggingface.co/{model}" if gated else None,
    }
