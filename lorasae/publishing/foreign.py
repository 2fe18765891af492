"""An adapter of the Hub, whoever made it: which kind it is, found from its files, and the run that measures it as it is."""

from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi

from lorasae.config import RunConfig, SAERef, overlay, run_config
from lorasae.errors import LabError
from lorasae.planning.continuing import model_of, refuse_other_adapter, settings_to_continue
from lorasae.planning.fitting import refuse_misfits
from lorasae.sources.catalog import saes_of
from lorasae.sources.hub_adapters import Kind, listed
from lorasae.sources.peft_files import CONFIG, WEIGHTS
from lorasae.store.runs import RunStore
from lorasae.store.started_from import Start, find_start


@dataclass(frozen=True)
class SeenRepository:
    """What a repository holds, from its metadata alone."""

    repo_id: str
    commit: str
    kind: Kind
    n_bytes: int
    model: str = ""  # of an adapter made elsewhere; one of the lab's says itself what it is when it is opened
    rank: int = 0
    alpha: float = 0.0
    layers: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    n_saes: int = 0  # that the lab knows of its model


def look(repo_id: str, revision: str | None, owner: str, store: RunStore, api: HfApi) -> SeenRepository:
    """Which of the two kinds a repository is, and what it holds. Fetches a few kilobytes.

    Raises:
        LabError: If it cannot be had, or holds no adapter that the lab can use; the reason is told.
    """
    found = listed(f"The adapter {repo_id} was to be opened", repo_id, revision, api)
    n_bytes = found.sizes[CONFIG] + found.sizes[WEIGHTS]
    if found.kind == "lorasae":
        return SeenRepository(repo_id, found.commit, "lorasae", n_bytes)
    shape = find_start(f"{repo_id}@{found.commit}", owner, store, api).shape
    model = model_of(shape)
    saes = len(saes_of(model))
    return SeenRepository(repo_id, found.commit, "peft", n_bytes, model, shape.rank, shape.alpha, shape.layers, shape.modules, saes)


def measuring_config(start: str, found: Start, saes: tuple[SAERef, ...]) -> RunConfig:
    """A run that measures an adapter as it is, around these SAEs; checked as far as metadata tells.

    Raises:
        LabError: For an SAE of another model, or an adapter that does not fit.
    """
    if not saes:
        raise LabError(f"The adapter {start} was to be measured", "No SAE was named", "Choose the SAE to look at it with")
    settings: dict[str, Any] = overlay(settings_to_continue(start, found), {"saes": [ref.model_dump() for ref in saes]})
    config = run_config(overlay(settings, {"name": start.partition("@")[0], "train": {"tokens": 0}}))
    refuse_misfits(config)
    refuse_other_adapter(config, found.shape)
    return config
