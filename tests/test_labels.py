"""The pocket world's labels on packed tokens, and F1 by hand."""

import numpy as np
import pytest

from lorasae.config import DataConfig, ModelConfig
from lorasae.core.firings import Firings
from lorasae.demo.text import LABELS, document, token_labels
from lorasae.inspection.labels import best_fits, packed_labels
from lorasae.sources.catalog import POCKET_MODEL
from lorasae.sources.data import POCKET_SEED, heldout_chunks, is_heldout
from lorasae.sources.language_model import load_tokenizer

DATA = DataConfig(source="pocket", context_length=64, heldout_tokens=1024)


@pytest.fixture(scope="module")
def pocket():
    return load_tokenizer(ModelConfig(model=POCKET_MODEL))


def test_labels_of_packed_tokens_are_the_token_labels_of_their_documents(pocket):
    """Told without packing: each document's tokens, looked up one after the other in the chunks."""
    chunks = heldout_chunks(DATA, pocket)
    known = packed_labels(DATA, pocket, chunks)
    assert known is not None and known.shape == (chunks.size, len(LABELS)) and known.any(axis=1).mean() > 0.9
    packed = [(token, row) for token, row in zip(chunks.flatten(), known, strict=True) if token != pocket.bos_token_id]
    texts = (document(POCKET_SEED, index) for index in range(10_000))
    for doc in (doc for doc in texts if is_heldout(doc.text)):
        encoded = pocket(doc.text, add_special_tokens=False, return_offsets_mapping=True)
        labels = token_labels(doc, encoded["offset_mapping"])
        for expected_token, expected in zip(encoded["input_ids"], labels, strict=True):
            if not packed:
                return
            token, row = packed.pop(0)
            assert token == expected_token and {LABELS[column] for column in np.flatnonzero(row)} == set(expected)
        if packed:
            token, row = packed.pop(0)
            assert token == pocket.eos_token_id and not row.any()


def test_text_that_is_not_the_pocket_world_s_has_no_labels(pocket):
    chunks = heldout_chunks(DATA, pocket)
    assert packed_labels(DATA.model_copy(update={"source": "text.txt"}), pocket, chunks) is None
    changed = chunks.copy()
    changed[3, 5] += 1
    assert packed_labels(DATA, pocket, changed) is None


def firings_at(*tokens: list[int]) -> Firings:
    feature = np.repeat(np.arange(len(tokens)), [len(each) for each in tokens])
    flat = np.concatenate([np.asarray(each, int) for each in tokens])
    return Firings(feature.astype(np.int32), flat.astype(np.int32), np.ones(len(flat), np.float32), 10, len(tokens))


@pytest.mark.parametrize("at_once", [1, 3, 10_000])
def test_the_best_label_by_hand(monkeypatch, at_once):
    monkeypatch.setattr("lorasae.inspection.labels._ENTRIES_AT_ONCE", at_once)
    known = np.zeros((10, 3), dtype=bool)
    known[[0, 1, 2, 3], 0] = True
    known[[2, 3], 1] = True
    known[:, 2] = True  # true of everything: says nothing of any feature
    fits = best_fits(firings_at([0, 1, 2, 9], [], [2, 3], list(range(10)), [5]), known)
    assert fits.label.tolist() == [0, -1, 1, -1, -1]
    # feature 0 against label 0: 3 of its 4 tokens, 3 of the label's 4; feature 2 against label 1: exactly
    assert fits.f1.tolist() == pytest.approx([0.75, 0, 1, 0, 0])
    assert fits.precision.tolist() == pytest.approx([0.75, 0, 1, 0, 0])
    assert fits.recall.tolist() == pytest.approx([0.75, 0, 1, 0, 0])
