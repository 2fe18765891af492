"""What a run is made of, fetched: `python -m lorasae.planning.run_parts …`. A run opened from the Hub brings its adapter, not its model.

The inspection process has no network, so whoever opens such a run asks for this first (`Errands.run`, online).
"""

from pathlib import Path
from typing import Any

from lorasae.planning.errand import answer_errand
from lorasae.sources.catalog import resolve
from lorasae.sources.fetching import Progress
from lorasae.sources.hub_access import fetching_at_most
from lorasae.sources.language_model import load_tokenizer, local_folder, pinned
from lorasae.sources.model_files import fetch_weights
from lorasae.sources.sae_weights import fetch_sae
from lorasae.store.commit_record import recorded_commits
from lorasae.store.run_folder import Run


def fetch_parts(run: Run, progress: Progress | None = None) -> None:
    """Model, tokenizer and SAEs of a run, of the commits it was begun with, into the Hub's cache of this machine. What is here stays.

    Raises:
        LabError: For what is gated, gone, damaged, or cannot be reached.
    """
    config, commits = run.config, recorded_commits(run)
    model = config.model.model_copy(update={"revision": commits.model or config.model.revision})
    if local_folder(model) is None:
        model = pinned(model)
        load_tokenizer(model)
        fetch_weights(f"The model of the run {run.run_id} was asked for", model.model, model.revision, progress)
    for ref in config.saes:
        if resolve(ref).folder is None:
            fetch_sae(ref, commits.of(ref), progress)


def _answer(asked: dict[str, Any], _asked_at: float) -> dict[str, Any]:
    with fetching_at_most(asked.get("most_bytes")):
        fetch_parts(Run(Path(asked["run"])))
    return {}


if __name__ == "__main__":
    answer_errand(_answer)
