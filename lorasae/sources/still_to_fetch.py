"""What a run will have to download before it can begin: asked of the Hub's cache on this machine, without the network."""

import json
from pathlib import Path

from lorasae.config import ModelConfig, RunConfig, SAERef
from lorasae.sources.catalog import POCKET_MODEL, POCKET_RELEASE, is_folder
from lorasae.sources.registry import registry
from lorasae.sources.sae_formats.formats import format_of, published


def still_to_fetch(config: RunConfig) -> list[str]:
    """The names of what is not here yet; empty where the Hub may not be asked at all."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return []
    models = [config.model.model] if not _model_is_here(config.model) else []
    return models + [str(ref) for ref in config.saes if not sae_is_here(ref)]


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


def sae_is_here(ref: SAERef) -> bool:
    """Whether an SAE can be loaded without the network: built in, in a folder, or all its files of one commit in the Hub's cache."""
    if ref.release == POCKET_RELEASE or is_folder(ref.release) or ref.release not in registry():
        return True
    from huggingface_hub import constants

    source = published(ref)
    names = format_of(f"The SAE {ref} was asked for", source).files
    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{source.repository.replace('/', '--')}" / "snapshots"
    there = snapshots.iterdir() if snapshots.is_dir() else ()
    return any(all((snapshot / source.path / name).exists() for name in names) for snapshot in there)
