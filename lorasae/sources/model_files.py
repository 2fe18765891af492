"""The files of a model on the Hub, put into the cache and then opened as a folder: its settings, its tokenizer, its safetensors.

Left to itself, transformers asks the Hub for a dozen more, and where there is only a pickle, for safetensors that a robot made on another
branch: not what was asked for.
"""

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from lorasae.errors import LabError
from lorasae.sources.fetching import Fetched, Progress, fetch, is_known_to_lack
from lorasae.sources.sae_formats.stored import json_settings

CONFIG = "config.json"
TOKENIZER = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)
GENERATION = "generation_config.json"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def fetch_weights(asked: str, repository: str, commit: str | None, progress: Progress | None = None) -> Fetched:
    """The weights of a model, in one file or many, with the settings that stand beside them.

    Raises:
        LabError: As `fetch`, and for weights that are not safetensors.
    """
    optional = (CONFIG, GENERATION)
    if not is_known_to_lack(repository, WHOLE, commit):
        try:
            return fetch(asked, repository, (WHOLE,), optional=optional, revision=commit, progress=progress)
        except LabError as error:
            if not isinstance(error.__cause__, EntryNotFoundError):
                raise
    index = _index(asked, repository, commit)
    shards = json_settings(asked, index.files[INDEX]).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise LabError(asked, f"Its {INDEX} names no files", "Choose another revision or repository")
    names = [INDEX, *sorted(set(map(str, shards.values())))]
    return fetch(asked, repository, names, optional=optional, revision=index.commit, progress=progress)


def _index(asked: str, repository: str, commit: str | None) -> Fetched:
    """The list of files that the weights are spread over."""
    try:
        return fetch(asked, repository, (INDEX,), revision=commit)
    except LabError as error:
        if not isinstance(error.__cause__, EntryNotFoundError) or isinstance(error.__cause__, LocalEntryNotFoundError):
            raise
        found = f"{repository} has neither {WHOLE} nor {INDEX}; pickles (.bin) are not opened"
        raise LabError(asked, found, "Choose a repository with safetensors, or save the model so: model.save_pretrained(folder)") from None
