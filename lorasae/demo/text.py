"""The pocket world in texts: document number i of a seed, with the truth about its every part."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lorasae.demo.kinds import fables, facts, how_to, letters, lists, notices, reports, stories, sums, verses
from lorasae.demo.labelled import INNER_LABELS, Span, unmark
from lorasae.demo.narrator import Narrator

_Writer = Callable[[Narrator], str]
_WRITERS: dict[str, tuple[int, _Writer]] = {  # kind: how often it occurs, and who writes it
    "story": (8, stories.story),
    "fable": (2, fables.fable),
    "letter": (2, letters.letter),
    "diary": (2, letters.diary),
    "dialogue": (2, letters.dialogue),
    "shop talk": (1, letters.shop),
    "recipe": (2, lists.recipe),
    "list": (1, lists.checklist),
    "sums": (1, sums.sums),
    "timetable": (1, lists.timetable),
    "instructions": (1, how_to.instructions),
    "questions": (3, facts.questions),
    "animal page": (2, facts.animal_page),
    "portrait": (2, facts.portrait),
    "town guide": (1, facts.town_guide),
    "riddle": (1, facts.riddle),
    "weather report": (1, reports.weather_report),
    "news": (2, reports.news),
    "sports report": (1, reports.sports),
    "notice": (1, notices.notice),
    "directions": (1, notices.directions),
    "poem": (1, verses.poem),
}
_DRAW = tuple(kind for kind, (weight, _) in _WRITERS.items() for _ in range(weight))

KINDS: tuple[str, ...] = tuple(sorted(_WRITERS))
_PATTERNS = {  # labels that the finished text shows by itself
    "number": re.compile(r"\d+"),
    "question": re.compile(r'[A-Z][^.!?":\n]*\?'),
    "thanks": re.compile(r'(Thank you|Many thanks)[^.!?"\n]*'),
    "greeting": re.compile(r'\b(Hello|Dear|My dear|Welcome|Good (day|morning|afternoon|evening))\b[^.!?"\n]*'),
}
LABELS: tuple[str, ...] = tuple(sorted({*INNER_LABELS, *_PATTERNS, *(f"in {kind}" for kind in KINDS)}))


@dataclass(frozen=True)
class Document:
    """A finished text of one kind, and its labelled character ranges in order of their start."""

    kind: str
    text: str
    spans: tuple[Span, ...]


def document(seed: int, index: int) -> Document:
    """The text with this number: the same for the same arguments, on every machine."""
    narrator = Narrator(f"{seed}/{index}")
    kind = narrator.pick(_DRAW)
    text, spans = unmark(_WRITERS[kind][1](narrator))
    spans += [Span(*found.span(), label) for label, seen in _PATTERNS.items() for found in seen.finditer(text)]
    spans.append(Span(0, len(text), f"in {kind}"))
    spans.sort(key=lambda span: (span.start, -span.end))
    return Document(kind, text, tuple(spans))


def documents(seed: int, n: int, start: int = 0) -> Iterator[Document]:
    """The n texts from number ``start`` on."""
    return (document(seed, index) for index in range(start, start + n))


def token_labels(doc: Document, offsets: Sequence[tuple[int, int]]) -> list[frozenset[str]]:
    """For each token's character range, the labels that cover at least half of its non-space characters.

    Ranges of a label that touch the same token count together. A token without such characters has no labels.
    """
    return [_labels_at(doc, start, end) for start, end in offsets]


def _labels_at(doc: Document, start: int, end: int) -> frozenset[str]:
    inked = [i for i in range(start, end) if not doc.text[i].isspace()]
    if not inked:
        return frozenset()
    covered: dict[str, set[int]] = {}
    for span in doc.spans:
        if span.start < end and span.end > start:
            covered.setdefault(span.label, set()).update(i for i in inked if span.start <= i < span.end)
    return frozenset(label for label, places in covered.items() if 2 * len(places) >= len(inked))
