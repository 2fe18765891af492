"""The one table of layouts: the registry's name of each -> the files that it needs and how they are read. None of them is a pickle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorasae.config import SAERef
from lorasae.errors import LabError
from lorasae.sources.registered_saes import registered_card
from lorasae.sources.registry import registry
from lorasae.sources.sae_formats import gemma_scope, gemma_scope_2, llama_scope, sae_lens_files
from lorasae.sources.sae_formats.stored import Published, Stored


@dataclass(frozen=True)
class Format:
    """A layout."""

    files: tuple[str, ...]  # in the SAE's folder
    read: Callable[[str, Published, Mapping[str, Path]], Stored]
    optional: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "sae_lens": Format(sae_lens_files.FILES, sae_lens_files.read),
    "gemma_2": Format(gemma_scope.FILES, gemma_scope.read),
    "gemma_3": Format(gemma_scope_2.FILES, gemma_scope_2.read, gemma_scope_2.OPTIONAL),
    "llama_scope": Format(llama_scope.FILES, llama_scope.read),
    "llama_scope_r1_distill": Format(llama_scope.DISTILL_FILES, llama_scope.read_distill),
}


def published(ref: SAERef) -> Published:
    """Where an SAE of the registry lies.

    Raises:
        LabError: For an unknown one, what cannot be spliced, and what exists only as a pickle.
    """
    card, release = registered_card(ref), registry()[ref.release]
    row = next(each for each in release["saes"] if each["id"] == ref.sae_id)
    return Published(
        card=card,
        loader=release.get("conversion_func") or "sae_lens",
        repository=release["repo_id"],
        path=str(row["path"]),
        norm_factor=row.get("norm_scaling_factor"),
        overrides=release.get("config_overrides"),
    )


def format_of(asked: str, source: Published) -> Format:
    """How an SAE is stored.

    Raises:
        LabError: For a layout that is not read here.
    """
    if source.loader not in FORMATS:
        raise LabError(
            asked,
            f"Its layout {source.loader!r} is not read here",
            f"Read are: {', '.join(FORMATS)}; or save it with sae-lens's save_model and give the folder",
        )
    return FORMATS[source.loader]
