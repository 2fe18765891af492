"""The pocket world's known labels on packed held-out text, and which of them fits each feature best."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorasae.config import DataConfig
from lorasae.core.firings import Firings
from lorasae.core.packing import pack
from lorasae.demo.text import LABELS, document, token_labels
from lorasae.sources.data import POCKET_SEED, Chunks, is_heldout

MIN_LIFT = 1.5  # how much truer than anywhere a label must be where a feature fires: else every dense feature "means" the commonest label

_ENTRIES_AT_ONCE = 2**17
_LabelledToken = tuple[int, frozenset[str]]


@dataclass(frozen=True, eq=False)
class Fits:
    """For every feature, the label with the best F1 among those that are truer where it fires. -1: there is none."""

    label: NDArray[np.int16]  # (d_sae,): index into LABELS
    f1: NDArray[np.float32]
    precision: NDArray[np.float32]  # share of the feature's tokens that carry the label
    recall: NDArray[np.float32]  # share of the label's tokens on which the feature fired


def packed_labels(data: DataConfig, tokenizer: Any, chunks: Chunks) -> NDArray[np.bool_] | None:
    """`(n_tokens, len(LABELS))`: what is true of every token of packed held-out pocket text.

    The documents are written again with their labels, and packed by the rule that packed their tokens. None if the text is not the pocket
    world's, or no longer the one that `chunks` holds.
    """
    if data.source != "pocket":
        return None
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    nothing: frozenset[str] = frozenset()
    packed = pack(
        _labelled_documents(tokenizer),  # type: ignore[arg-type]  # pack moves items about and looks into none
        data.context_length,
        None if bos is None else (bos, nothing),  # type: ignore[arg-type]
        None if eos is None else (eos, nothing),  # type: ignore[arg-type]
    )
    rows: list[_LabelledToken] = [token for chunk in islice(packed, len(chunks)) for token in chunk]  # type: ignore[misc]
    if not np.array_equal([token for token, _ in rows], chunks.flatten()):
        return None
    columns = {label: column for column, label in enumerate(LABELS)}
    known = np.zeros((len(rows), len(LABELS)), dtype=bool)
    for row, (_, labels) in enumerate(rows):
        known[row, [columns[label] for label in labels]] = True
    return known


def _labelled_documents(tokenizer: Any) -> Iterator[list[_LabelledToken]]:
    for index in count():
        doc = document(POCKET_SEED, index)
        if doc.text.strip() and is_heldout(doc.text):
            encoded = tokenizer(doc.text, add_special_tokens=False, return_offsets_mapping=True)
            yield list(zip(encoded["input_ids"], token_labels(doc, encoded["offset_mapping"]), strict=True))


def best_fits(firings: Firings, known: NDArray[np.bool_]) -> Fits:
    """The best label of each feature: F1 of "the feature fires here" against "the label is true here".

    Args:
        firings: On the labelled text.
        known: `(n_tokens, labels)`: what is true of each token.
    """
    fits = Fits(np.full(firings.d_sae, -1, np.int16), *(np.zeros(firings.d_sae, np.float32) for _ in range(3)))
    n_true = known.sum(axis=0)
    active = np.flatnonzero(firings.fired)
    for features in _blocks(active, firings):
        part = slice(firings.starts[features[0]], firings.starts[features[-1] + 1])
        starts = firings.starts[features] - part.start
        both = np.add.reduceat(known[firings.token[part]], starts, axis=0, dtype=np.int64)  # (features, labels)
        fired = firings.fired[features]
        f1 = 2 * both / np.maximum(1, fired[:, None] + n_true)
        f1[both * len(known) < MIN_LIFT * fired[:, None] * n_true] = 0
        best = f1.argmax(axis=1)
        rows = np.arange(len(features))
        fits.f1[features] = f1[rows, best]
        fits.label[features] = np.where(f1[rows, best] > 0, best, -1)
        found = np.where(f1[rows, best] > 0, both[rows, best], 0)
        fits.precision[features] = found / fired
        fits.recall[features] = found / np.maximum(1, n_true[best])
    return fits


def _blocks(active: NDArray[np.int64], firings: Firings) -> Iterator[NDArray[np.int64]]:
    """Active features in groups that together fired about _ENTRIES_AT_ONCE times, at least one per group."""
    if len(active):
        group = np.cumsum(firings.fired[active]) // _ENTRIES_AT_ONCE
        yield from np.split(active, np.flatnonzero(np.diff(group)) + 1)
