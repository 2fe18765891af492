"""Tokens as text, where a token may be a piece of a letter: a letter outside ASCII is several bytes, and each byte can be a token."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

_LOST = "\ufffd"  # what a decoder writes for bytes that are no letter
_BYTE_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")


def token_text(tokenizer: Any, token: int) -> str:
    """A token as text; bytes that are no letter by themselves as ⟨C3⟩."""
    text = tokenizer.decode([token])
    if _LOST not in text:
        return text
    data = token_bytes(tokenizer, token)
    if data is None:
        return text
    return re.sub("[\udc80-\udcff]", lambda byte: f"⟨{ord(byte[0]) - 0xDC00:02X}⟩", data.decode("utf-8", "surrogateescape"))


def token_bytes(tokenizer: Any, token: int) -> bytes | None:
    """The bytes that a token stands for, in the two ways that vocabularies write them; None for a token written in letters."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if fallback := _BYTE_FALLBACK.fullmatch(piece):
        return bytes.fromhex(fallback[1])
    alphabet = _byte_level_alphabet()
    if all(character in alphabet for character in piece):
        return bytes(alphabet[character] for character in piece)
    return None


def split_letters(tokenizer: Any, tokens: Sequence[int]) -> list[str | None]:
    """For each token, the letter that it is only a part of, where its neighbours make it whole."""
    found: list[str | None] = [None] * len(tokens)
    broken = [_LOST in tokenizer.decode([token]) for token in tokens]
    start = 0
    while start < len(tokens):
        stop = start
        while stop < len(tokens) and broken[stop]:
            stop += 1
        for index, letter in _letters_across([token_bytes(tokenizer, token) or b"" for token in tokens[start:stop]]):
            found[start + index] = found[start + index] or letter
        start = max(stop, start + 1)
    return found


def _letters_across(pieces: list[bytes]) -> list[tuple[int, str]]:
    """(piece, letter) for the letters that more than one piece holds a part of."""
    owners = [index for index, piece in enumerate(pieces) for _ in piece]
    across, at = [], 0
    for letter in b"".join(pieces).decode("utf-8", "surrogateescape"):
        n_bytes = len(letter.encode("utf-8", "surrogateescape"))
        holders = sorted(set(owners[at : at + n_bytes]))
        across += [(holder, letter) for holder in holders if len(holders) > 1]
        at += n_bytes
    return across


@cache
def _byte_level_alphabet() -> dict[str, int]:
    """The letters by which byte-level vocabularies write bytes: printable ones as they are, the others, in order, from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}
