"""A finished run as those outside see it: read once from its folder, and nothing of this machine in it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lorasae.config import RunConfig, SAERef
from lorasae.errors import LabError
from lorasae.metrics import METRICS
from lorasae.sources.catalog import POCKET_MODEL, is_folder, resolve
from lorasae.sources.text_files import SUFFIXES
from lorasae.store.lineage import Ancestor, lineage
from lorasae.store.run_folder import Run

CONDITIONS: tuple[str, ...] = ("ce_original", "ce_original_sae", "ce_adapted_sae", "ce_adapted")


@dataclass(frozen=True)
class Publication:
    """What is told about a run."""

    run: Run
    result: dict[str, Any]
    config: RunConfig
    name: str

    @property
    def base_model(self) -> str:
        """The base model as the Hub knows it, or `pocket`."""
        return self.config.model.model

    @property
    def is_pocket(self) -> bool:
        """Whether the base model comes with the lab instead of from the Hub."""
        return self.base_model == POCKET_MODEL

    @property
    def saes(self) -> list[dict[str, Any]]:
        """The SAEs of the run, lowest first, as lorasae.json records them."""
        return self.result["saes"]

    @property
    def releases(self) -> dict[str, str | None]:
        """The releases that the SAEs are of -> the repository on the Hub; None of one that has none, or is not listed any more."""
        return {each["release"]: _repository(each) for each in self.saes}

    @property
    def text(self) -> str:
        """The text it was trained on, in words; a file of somebody's own by no more than that."""
        source = self.config.data.source
        if source == "pocket":
            return "the pocket world, a generated text that comes with LoRA-SAE Lab"
        return "a text of the author's own" if self.has_own_text else f"the dataset {source}"

    @property
    def has_own_text(self) -> bool:
        """Whether the text is a file, which stays where it is."""
        return self.config.data.source.endswith(SUFFIXES) or is_folder(self.config.data.source)

    @cached_property
    def ancestors(self) -> list[Ancestor]:
        """What the adapter was before, nearest first; empty for one that began afresh."""
        return lineage(self.result)

    @property
    def is_opened(self) -> bool:
        """Whether it is somebody's published adapter that was opened here, and nothing else was done to it."""
        return bool(self.result.get("origin"))

    @property
    def is_only_measured(self) -> bool:
        """Whether the run trained nothing: it measured an adapter as it was."""
        return self.result["n_steps"] == 0

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The metrics, oldest first."""
        return list(self.run.metrics())

    def value(self, key: str) -> float | None:
        """A metric of the result; None where it means nothing."""
        return self.result["results"].get(key, {}).get("value")

    def shown(self, key: str) -> str:
        """A metric with its standard error, as printed everywhere."""
        entry = self.result["results"].get(key, {})
        if entry.get("value") is None:
            return "–"
        error = entry.get("standard_error")
        return METRICS[key].show(entry["value"]) + (f" ± {_error(key, error)}" if error is not None else "")


def publication(run: Run) -> Publication:
    """A run's publication.

    Raises:
        LabError: If it has no result yet, or its model or an SAE is a folder that nobody else has.
    """
    asked = f"The run {run.run_id} was to be published"
    if run.read_only:
        raise LabError(asked, "It is the example that comes with the lab", "Publish a run of your own: duplicate it")
    result, config = run.result, run.config
    own = [name for name in (config.model.model, *(ref.release for ref in config.saes)) if is_folder(name)]
    if own:
        raise LabError(asked, f"It uses {Path(own[0]).name}, a folder of this machine", "Publish that first and run with its Hub id")
    if not (run.adapter / "adapter_model.safetensors").is_file():
        raise LabError(asked, "Its adapter is not in its folder", "Restore it, or do the run again")
    return Publication(run, result, config, run.about.name or run.run_id)


def _repository(record: dict[str, Any]) -> str | None:
    try:
        return resolve(SAERef(release=record["release"], sae_id=record["sae_id"])).repository
    except LabError:
        return None


def _error(key: str, error: float) -> str:
    return f"{100 * error:.1f}" if METRICS[key].unit == "fraction" else f"{error:.4f}"
