"""Tokens that are pieces of a letter, in both ways that vocabularies write bytes."""

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lorasae.inspection.token_text import split_letters, token_text
from lorasae.sources.catalog import ASSETS


@pytest.fixture(scope="module")
def byte_level():
    return AutoTokenizer.from_pretrained(ASSETS / "demo" / "model")


@pytest.fixture(scope="module")
def byte_fallback():
    words = ["<unk>", "▁", "a", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
def test_a_letter_of_two_tokens_is_shown_as_its_bytes_and_each_knows_the_letter(name, request):
    tokenizer = request.getfixturevalue(name)
    ids = tokenizer("aüa", add_special_tokens=False)["input_ids"]
    assert [token_text(tokenizer, token) for token in ids] == ["a", "⟨C3⟩", "⟨BC⟩", "a"]
    assert split_letters(tokenizer, ids) == [None, "ü", "ü", None]


def test_letters_side_by_side_are_told_apart(byte_level):
    ids = byte_level("é€😀", add_special_tokens=False)["input_ids"]
    assert split_letters(byte_level, ids) == ["é"] * 2 + ["€"] * 3 + ["😀"] * 4


def test_half_a_letter_alone_belongs_to_none(byte_level):
    (first, _) = byte_level("ü", add_special_tokens=False)["input_ids"]
    assert split_letters(byte_level, [first]) == [None] and split_letters(byte_level, [first, first]) == [None, None]
    assert split_letters(byte_level, []) == []


def test_every_token_of_the_pocket_model_can_be_read(byte_level):
    assert not [token for token in range(len(byte_level)) if "\ufffd" in token_text(byte_level, token)]
