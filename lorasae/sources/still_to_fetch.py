"""What a run will have to download before it can begin: asked of the Hub's cache on this machine, without the network."""

import json
from pathlib import Path

from lorasae.config import ModelConfig, RunConfig, SAERef
from lorasae.sources.catalog import POCKET_MODEL, POCKET_RELEASE, is_folder
from lorasae.sources.registry import registry


def still_to_fetch(config: RunConfig) -> list[str]:
    """The names of what is not here yet; empty where the Hub may not be asked at all."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return []
    models = [config.model.model] if not _model_is_here(config.model) else []
    return models + [str(ref) for ref in config.saes if not _sae_is_here(ref)]


def _model_is_here(model: ModelConfig) -> bool:
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


def _sae_is_here(ref: SAERef) -> bool:
    """Whether the Hub's cache holds what the registry names as the place of the SAE, a file or a folder."""
    if ref.release == POCKET_RELEASE or is_folder(ref.release) or ref.release not in registry():
        return True
    from huggingface_hub import constants

    release = registry()[ref.release]
    path = next((str(row["path"]) for row in release["saes"] if row["id"] == ref.sae_id), "")
    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{str(release['repo_id']).replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any((snapshot / path).exists() for snapshot in snapshots.iterdir())
