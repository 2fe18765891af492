"""Text -> packed token chunks, split into training and held-out by document; which chunks a step sees is a pure function of (seed, step).

Sources: the pocket world, a local .txt, .jsonl or .csv file, or a dataset read through `datasets` (a Hub id, streamed, or a local folder).
Whether a document is held out depends on its text alone, so that copies of it never stand on both sides.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import torch
from numpy.typing import NDArray

from lorasae.config import DataConfig
from lorasae.core.packing import pack
from lorasae.errors import LabError
from lorasae.sources.hub_access import is_known, token_in_use
from lorasae.sources.hub_problems import absence_told, first_line, gate_told
from lorasae.sources.known_datasets import KNOWN_DATASETS
from lorasae.sources.text_files import SUFFIXES, file_documents

Chunks = NDArray[np.int32]  # (n_chunks, context_length)
HELDOUT_SHARE = 8  # one document in eight is held out
POCKET_SEED = 2  # the language model was trained on seed 0 and its SAEs on others: these documents are new to both
_DOCUMENTS_PER_CALL = 256


@dataclass(frozen=True)
class Corpus:
    """Token chunks of the two sides, and a fingerprint by which a resumed run knows its text again."""

    train: Chunks
    heldout: Chunks

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for chunks in (self.train, self.heldout):
            digest.update(np.ascontiguousarray(chunks).tobytes())
        return digest.hexdigest()


def prepare(config: DataConfig, tokenizer: Any, train_tokens: int) -> Corpus:
    """Read, tokenise and pack as much of the source as the run needs.

    Args:
        config: The source and the context length.
        tokenizer: A fast tokenizer of the model.
        train_tokens: Training tokens wanted; a smaller source is gone through several times. One sequence is read even for none.

    Raises:
        LabError: For a source that is missing, empty, binary, or too short to fill one chunk on each side.
    """
    train = _side(config, tokenizer, False, max(1, -(-train_tokens // config.context_length)))
    return Corpus(train, heldout_chunks(config, tokenizer))


def heldout_chunks(config: DataConfig, tokenizer: Any) -> Chunks:
    """The held-out side alone, as in `prepare`."""
    return _side(config, tokenizer, True, max(1, config.heldout_tokens // config.context_length))


def refuse_without_text(config: DataConfig) -> None:
    """Read the first document of a source, and nothing more: before anything large is fetched for a run that could not begin.

    Raises:
        LabError: For a source that is missing, closed, or without text.
    """
    if next(documents(config), None) is None:
        raise LabError(f"Text was to be read from {config.source}", "It holds no document with text", "Give another source")


def _side(config: DataConfig, tokenizer: Any, heldout: bool, n_chunks: int) -> Chunks:
    """The first `n_chunks` chunks of one side. Each side reads the source from its start: reading is cheap, tokenising is done once."""
    texts = (text for text in documents(config) if is_heldout(text) == heldout)
    packed = pack(_tokenised(texts, tokenizer), config.context_length, tokenizer.bos_token_id, tokenizer.eos_token_id)
    chunks = list(islice(packed, n_chunks))
    if not chunks:
        raise LabError(
            f"Text was read from {config.source}",
            f"There is not one full chunk of {config.context_length} tokens for the {'held-out' if heldout else 'training'} side",
            "Give more text (about one document in eight is held out), or a smaller data.context_length",
        )
    return np.asarray(chunks, dtype=np.int32)


def _tokenised(texts: Iterable[str], tokenizer: Any) -> Iterator[list[int]]:
    """Token ids of each text, without special tokens; whole groups go to the tokenizer at once, which then uses every core."""
    iterator = iter(texts)
    while group := list(islice(iterator, _DOCUMENTS_PER_CALL)):
        yield from tokenizer(group, add_special_tokens=False)["input_ids"]


def is_heldout(document: str) -> bool:
    """Whether a document belongs to the held-out side: decided by a hash of its text."""
    return hashlib.sha256(document.encode()).digest()[0] % HELDOUT_SHARE == 0


def step_chunks(chunks: Chunks, seed: int, step: int, n: int) -> torch.Tensor:
    """The `n` chunks of one step, `(n, context_length)` int64: each epoch is a fresh permutation, nothing to save or skip on resume."""
    return torch.from_numpy(chunks[step_rows(len(chunks), seed, step, n)].astype(np.int64))


def step_rows(n_chunks: int, seed: int, step: int, n: int) -> list[int]:
    """Which of a corpus's `n_chunks` chunks the `n` of one step are."""
    positions = np.arange(step * n, (step + 1) * n)
    epochs = positions // n_chunks
    orders = {int(epoch): np.random.default_rng([seed, int(epoch)]).permutation(n_chunks) for epoch in np.unique(epochs)}
    return [int(orders[int(epoch)][position % n_chunks]) for epoch, position in zip(epochs, positions, strict=True)]


def micro_batches(chunks: torch.Tensor | Chunks, size: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Chunks `(n, context_length)` in groups of `size`, int64, on the device."""
    for start in range(0, len(chunks), size):
        yield torch.as_tensor(chunks[start : start + size], dtype=torch.int64).to(device)


def documents(config: DataConfig) -> Iterator[str]:
    """The documents of a source, in its own order, empty ones left out."""
    source = Path(config.source).expanduser()
    if config.source == "pocket":
        found: Iterable[str] = _pocket_documents()
    elif source.suffix in SUFFIXES or source.is_file():
        found = file_documents(source, config.column)
    else:
        found = _dataset_documents(config)
    whole = (text.encode("utf-8", "replace").decode() for text in found if text)  # a lone surrogate is no text
    return (text for text in whole if text.strip())


def _pocket_documents() -> Iterator[str]:
    from lorasae.demo.text import document

    index = 0
    while True:
        yield document(POCKET_SEED, index).text
        index += 1


def _dataset_documents(config: DataConfig) -> Iterator[str]:
    from datasets import load_dataset

    asked = f"Text from the dataset {config.source!r} was asked for"
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", config.source) and not Path(config.source).is_dir():
        raise LabError(
            asked,
            "It is neither a file, nor a folder, nor a dataset id",
            "Give `pocket`, a .txt, .jsonl or .csv file, or an id such as org/name",
        )
    with _dataset_problems_told(asked, config.source):
        rows = load_dataset(config.source, config.config_name, split=config.split, streaming=True, token=token_in_use())
        for number, row in enumerate(rows):
            text = row.get(config.column)
            if number == 0 and not isinstance(text, str):
                found = f"Its rows have no text under {config.column!r}; they have: {', '.join(row)}"
                raise LabError(asked, found, "Set data.column to one of these")
            if isinstance(text, str):
                yield text


@contextmanager
def _dataset_problems_told(asked: str, source: str) -> Iterator[None]:
    """Whatever the libraries raise while a dataset is found, opened or streamed becomes a LabError."""
    try:
        yield
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        found = "It is made by a script of its publisher's, and no code is fetched and run"
        raise LabError(
            asked, found, f"Choose a dataset stored as files, such as {', '.join(each.source for each in KNOWN_DATASETS[:2])}"
        ) from None
    except (ValueError, OSError, httpx2.HTTPError) as error:  # which all of the libraries' own come from
        if "Compression type zstd" in str(error):
            found = "Its files are packed with zstd, and the package zstandard is not installed here"
            raise LabError(asked, found, "Where the lab runs: pip install -r requirements.txt") from None
        has_token = is_known(token_in_use())
        if "is a gated dataset on the Hub" in str(error):
            raise LabError(asked, *gate_told(source, has_token, "datasets/")) from None
        if "doesn't exist on the Hub or cannot be accessed" in str(error):
            raise LabError(asked, *absence_told(source, [each.source for each in KNOWN_DATASETS], has_token, "dataset")) from None
        raise LabError(asked, first_line(error), "Check the id, its configuration and split, and that the Hub can be reached") from None
