"""What a run will have to download before it can begin: asked of the Hub's cache on this machine, without the network."""

import json
from collections.abc import Iterator
from pathlib import Path

from lorasae.config import ModelConfig, RunConfig, SAERef
from lorasae.sources.catalog import POCKET_MODEL, POCKET_RELEASE, is_folder
from lorasae.sources.registry import registry
from lorasae.sources.sae_card import SAECard

_WEIGHTS = ("*.safetensors", "*.npz")


def still_to_fetch(config: RunConfig) -> list[str]:
    """The names of what is not here yet; empty where the Hub may not be asked at all."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return []
    models = [config.model.model] if not model_is_here(config.model) else []
    return models + [str(ref) for ref in config.saes if not _sae_is_here(ref)]


def model_is_here(model: ModelConfig) -> bool:
    """Whether every file of its weights is on this machine."""
    if model.model == POCKET_MODEL or is_folder(model.model) or _cached(model, "model.safetensors"):
        return True
    index = _cached(model, "model.safetensors.index.json")
    if index is None:
        return False
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all(_cached(model, str(shard)) for shard in shards)


def _cached(model: ModelConfig, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model.model, name, revision=model.revision)
    except (HFValidationError, ValueError, OSError):
        return None
    return Path(found) if isinstance(found, str) else None


def card_is_here(card: SAECard) -> bool:
    """Whether the weights of an SAE are on this machine: built in, in a folder, or in the Hub's cache."""
    if card.folder is not None or not card.repository or not card.path:
        return True
    return any(_holds_weights(snapshot / card.path) for snapshot in _snapshots(card.repository))


def _holds_weights(place: Path) -> bool:
    """A file, a file but for its ending, or a folder with weights in it or one level down (Llama Scope: `checkpoints/`)."""
    if place.is_file() or place.with_name(f"{place.name}.safetensors").is_file():
        return True
    return any(next(place.glob(f"{depth}{ending}"), None) for depth in ("", "*/") for ending in _WEIGHTS)


def _snapshots(repository: str) -> Iterator[Path]:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    yield from folder.iterdir() if folder.is_dir() else ()


def _sae_is_here(ref: SAERef) -> bool:
    """Whether the Hub's cache holds what the registry names as the place of the SAE."""
    if ref.release == POCKET_RELEASE or is_folder(ref.release) or ref.release not in registry():
        return True
    release = registry()[ref.release]
    path = next((str(row["path"]) for row in release["saes"] if row["id"] == ref.sae_id), "")
    return card_is_here(SAECard(ref, repository=str(release["repo_id"]), path=path))
