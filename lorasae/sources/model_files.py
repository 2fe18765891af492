"""The weights of a model on the Hub: its safetensors files, one or many. A repository that has only a pickle is refused here.

transformers would look for safetensors on other branches then, made by a robot: not what was asked for.
"""

from collections.abc import Sequence

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from lorasae.errors import LabError
from lorasae.sources.fetching import Fetched, Progress, fetch
from lorasae.sources.sae_formats.stored import json_settings

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def fetch_weights(asked: str, repository: str, commit: str | None, progress: Progress | None = None, known: Sequence[str] = ()) -> str:
    """See to it that the weights of a model are in the cache, and answer their commit.

    Raises:
        LabError: As `fetch`, and for weights that are not safetensors.
    """
    try:
        return fetch(asked, repository, (WHOLE,), revision=commit, progress=progress, known=known).commit
    except LabError as error:
        if not isinstance(error.__cause__, EntryNotFoundError):
            raise
    index = _index(asked, repository, commit, known)
    shards = json_settings(asked, index.files[INDEX]).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise LabError(asked, f"Its {INDEX} names no files", "Choose another revision or repository")
    return fetch(asked, repository, sorted(set(map(str, shards.values()))), revision=index.commit, progress=progress).commit


def _index(asked: str, repository: str, commit: str | None, known: Sequence[str]) -> Fetched:
    """The list of files that the weights are spread over."""
    try:
        return fetch(asked, repository, (INDEX,), revision=commit, known=known)
    except LabError as error:
        if not isinstance(error.__cause__, EntryNotFoundError) or isinstance(error.__cause__, LocalEntryNotFoundError):
            raise
        found = f"{repository} has neither {WHOLE} nor {INDEX}; pickles (.bin) are not opened"
        raise LabError(asked, found, "Choose a repository with safetensors, or save the model so: model.save_pretrained(folder)") from None
