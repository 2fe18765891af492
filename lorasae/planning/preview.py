"""The first documents of a text source and the first sequence made of them: `python -m lorasae.planning.preview …`."""

from itertools import islice
from typing import Any

from lorasae.config import RunConfig, run_config
from lorasae.core.packing import pack
from lorasae.errors import LabError
from lorasae.planning.errand import answer_errand
from lorasae.sources.data import documents, is_heldout
from lorasae.sources.language_model import load_tokenizer

N_DOCUMENTS, N_CHARACTERS, N_TOKENS = 4, 400, 256
_N_READ = 64  # documents read at most


def preview(config: RunConfig) -> dict[str, Any]:
    """The first documents, cut short, and the first tokens of the first training sequence, with where a document ends.

    Raises:
        LabError: For a source that cannot be read, and a model whose tokenizer is not to be had.
    """
    tokenizer = load_tokenizer(config.model)
    read = list(islice(documents(config.data), _N_READ))
    if not read:
        asked = f"A preview of {config.data.source} was asked for"
        raise LabError(asked, "There is no text in it", "Give a source with text")
    texts = [text for text in read if not is_heldout(text)] or read
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    sequence = next(pack(ids, config.data.context_length, bos, eos), None)
    if sequence is None:  # less text than one sequence: what there is of it
        sequence = [token for document in ids for token in [*document, *([] if eos is None else [eos])]]
    return {
        "documents": [{"text": text[:N_CHARACTERS], "n_characters": len(text), "heldout": is_heldout(text)} for text in read[:N_DOCUMENTS]],
        "tokens": [{"text": tokenizer.decode([token]), "id": token, "special": token in (bos, eos)} for token in sequence[:N_TOKENS]],
        "n_tokens": len(sequence),
        "context_length": config.data.context_length,
        "tokens_per_document": round(sum(map(len, ids)) / len(ids), 1),
    }


if __name__ == "__main__":
    answer_errand(lambda asked, _asked_at: preview(run_config(asked)))
