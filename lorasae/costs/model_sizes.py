"""How large a language model is, from its config.json or as published: what pictures and estimates need. No torch."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lorasae.config import ModelConfig
from lorasae.sources.catalog import ASSETS, POCKET_MODEL, is_folder
from lorasae.sources.published_models import PUBLISHED, ModelSizes


def sizes_of(model: ModelConfig) -> ModelSizes | None:
    """The model's sizes: of the pocket model, a folder, the Hub's cache on this machine, or as published; None where none is known."""
    folder = ASSETS / "demo" / "model" if model.model == POCKET_MODEL else Path(model.model)
    path = folder / "config.json" if is_folder(str(folder)) else cached_config(model)
    if path is not None and path.is_file():
        return _read(path, path.stat().st_mtime_ns)
    return PUBLISHED.get(model.model)


def cached_config(model: ModelConfig) -> Path | None:
    """config.json of a Hub model whose files are on this machine already."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model.model, "config.json", revision=model.revision)
    except (HFValidationError, ValueError, OSError):
        return None
    return Path(found) if isinstance(found, str) else None


def is_here(model: ModelConfig) -> bool:
    """Whether the model can be loaded without the network."""
    return model.model == POCKET_MODEL or is_folder(model.model) or cached_config(model) is not None


@cache
def _read(path: Path, _changed: int) -> ModelSizes | None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return sizes_from(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def sizes_from(config: Mapping[str, Any]) -> ModelSizes:
    """Sizes from the content of a config.json; a multi-modal model's language part.

    Raises:
        KeyError: If it states no width, layers or heads.
    """
    config = config.get("text_config") or config

    def stated(*names: str, default: Any = None) -> Any:
        found = next((config[name] for name in names if config.get(name) is not None), default)
        if found is None:
            raise KeyError(names[0])
        return found

    d_model, n_heads = stated("hidden_size", "n_embd"), stated("num_attention_heads", "n_head")
    return ModelSizes(
        family=stated("model_type", default=""),
        n_layers=stated("num_hidden_layers", "n_layer"),
        d_model=d_model,
        d_mlp=stated("intermediate_size", "n_inner", default=4 * d_model),
        n_heads=n_heads,
        n_kv_heads=stated("num_key_value_heads", default=n_heads),
        d_head=stated("head_dim", default=d_model // n_heads),
        vocab=stated("vocab_size"),
        max_context=config.get("max_position_embeddings") or config.get("n_positions"),
        stored_bytes=4 if (config.get("dtype") or config.get("torch_dtype")) == "float32" else 2,
        tied=config.get("tie_word_embeddings", str(config.get("model_type", "")).startswith(("gemma", "gpt2"))),
    )
