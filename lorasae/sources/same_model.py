"""Whether two names mean the same language model. No torch."""

from lorasae.sources.catalog import POCKET_MODEL, is_folder

_SAME_MODEL = {
    "gpt2-small": "gpt2",
    "mistral-7b": "mistral-7b-v0.1",
    "gemma-3-270m-pt": "gemma-3-270m",
}  # TransformerLens name -> the Hub's


def may_be_same_model(stated: str, model_name: str) -> bool:
    """Whether what is said to be of `stated` may belong to `model_name`. Owners and case are ignored; folders could hold anything."""
    if is_folder(stated) or stated.startswith((".", "/", "~")) or (is_folder(model_name) and model_name != POCKET_MODEL):
        return True
    return short_name(stated) == short_name(model_name)


def short_name(name: str) -> str:
    """A model's name without its owner, as the Hub writes it, in small letters."""
    short = name.rpartition("/")[2].lower()
    return _SAME_MODEL.get(short, short)
