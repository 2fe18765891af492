"""Labelled strings: plain ``str`` values that carry their own labels until the text is finished.

A labelled string wraps each labelled part in an opening mark (one private-use character per label) and a closing mark.
Such strings can be joined and formatted like any other; ``unmark`` takes the marks out and says where they stood.
"""

import re
from dataclasses import dataclass

FEELING_GROUPS = (
    "happy",
    "sad",
    "angry",
    "afraid",
    "surprised",
    "calm",
    "proud",
    "tired",
    "lonely",
    "curious",
    "grateful",
)
SEASON_NAMES = ("spring", "summer", "autumn", "winter")

INNER_LABELS: tuple[str, ...] = (
    "person name", "pronoun: she", "pronoun: he", "town", "landscape", "place", "animal", "sound", "thing", "material",
    "food", "job", "colour", "number", "weather", "time of day", "day of the week", "movement",
    *(f"feeling: {group}" for group in FEELING_GROUPS), *(f"season: {name}" for name in SEASON_NAMES),
    "inside a quotation", "answer", "farewell", "title", "list item", "instruction", "sum", "rhyme", "moral",
)  # fmt: skip

_OPENING = {label: chr(0xE000 + i) for i, label in enumerate(INNER_LABELS)}
_LABEL = {mark: label for label, mark in _OPENING.items()}
_CLOSING = "\uf8ff"
_MARK = re.compile("([\ue000-\uf8ff])")
_FIRST_LETTER = re.compile('[^\ue000-\uf8ff"]')


@dataclass(frozen=True)
class Span:
    """A half-open character range ``[start, end)`` of a document's text, and what stands there."""

    start: int
    end: int
    label: str


def mark(label: str, text: str) -> str:
    """The text, labelled. Labels nest; an unknown label is a ``KeyError``."""
    return f"{_OPENING[label]}{text}{_CLOSING}"


def quote(text: str) -> str:
    """Direct speech in straight double quotes, which belong to the quotation."""
    return mark("inside a quotation", f'"{text}"')


def capital(text: str) -> str:
    """The same labelled string with its first letter in upper case."""
    first = _FIRST_LETTER.search(text)
    if first is None:
        return text
    at = first.start()
    return text[:at] + text[at].upper() + text[at + 1 :]


def a(text: str) -> str:
    """The labelled string after its indefinite article; every vowel of the pocket world also sounds like one."""
    first = _FIRST_LETTER.search(text)
    return f"{'an' if first and first.group() in 'aeiouAEIOU' else 'a'} {text}"


def unmark(marked: str) -> tuple[str, list[Span]]:
    """The plain text of a labelled string, and its labels as spans in the order in which they end."""
    pieces: list[str] = []
    spans: list[Span] = []
    open_spans: list[tuple[int, str]] = []
    length = 0
    for i, part in enumerate(_MARK.split(marked)):
        if i % 2 == 0:
            pieces.append(part)
            length += len(part)
        elif part == _CLOSING:
            start, label = open_spans.pop()
            spans.append(Span(start, length, label))
        else:
            open_spans.append((length, _LABEL[part]))
    return "".join(pieces), spans
