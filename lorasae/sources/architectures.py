"""The families of language models that are loaded: those whose places in the stream are known here. One list, by transformers' name."""

from typing import Any

from lorasae.errors import LabError

FAMILIES: dict[str, str] = {
    "gemma": "Gemma",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 with its eyes",
    "gemma3_text": "Gemma 3",
    "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX and Pythia",
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen 2 and 2.5",
    "qwen3": "Qwen 3",
}


def refuse_unknown_family(asked: str, architecture: Any) -> None:
    """Refuse a model of any other family, by its config.json alone.

    Raises:
        LabError: With the families there are.
    """
    if architecture.model_type not in FAMILIES:
        raise LabError(
            asked,
            f"It is of the family {architecture.model_type!r}, in which the places of SAEs are not known",
            f"Use a causal language model of one of these: {', '.join(FAMILIES.values())}",
        )
