"""The pocket world's texts are reproducible, grammatical and coherent, and their labels tell the truth."""

import re

import pytest

from lorasae.demo import words
from lorasae.demo.text import KINDS, LABELS, Document, Span, document, documents, token_labels
from lorasae.demo.world import PEOPLE, plural_of

DOCUMENTS = list(documents(seed=5, n=2500))
TEXTS = [doc.text for doc in DOCUMENTS]


def _column(table: str, *columns: int) -> set[str]:
    rows = [[field.strip() for field in line.split("|")] for line in table.strip().splitlines()]
    return {row[column] for row in rows for column in columns}


def _labelled(label: str, kind: str | None = None) -> set[str]:
    """Everything that carries the label, in lower case."""
    return {
        doc.text[span.start : span.end].lower()
        for doc in DOCUMENTS
        for span in doc.spans
        if span.label == label and kind in (None, doc.kind)
    }


def test_the_same_seed_and_index_give_the_same_document() -> None:
    assert [document(5, i) for i in range(100)] == DOCUMENTS[:100]
    assert list(documents(5, 10, start=40)) == DOCUMENTS[40:50]


def test_other_indices_and_seeds_give_other_documents() -> None:
    assert len(set(TEXTS)) > 0.99 * len(TEXTS)
    assert document(6, 0) != document(5, 0)


def test_texts_are_ascii() -> None:
    assert all(text.isascii() for text in TEXTS)


def test_every_kind_and_every_label_occurs_and_no_other() -> None:
    assert {doc.kind for doc in DOCUMENTS} == set(KINDS)
    assert {span.label for doc in DOCUMENTS for span in doc.spans} == set(LABELS)
    assert list(LABELS) == sorted(set(LABELS))


def test_spans_lie_within_the_text_and_are_not_empty() -> None:
    assert all(0 <= span.start < span.end <= len(doc.text) for doc in DOCUMENTS for span in doc.spans)


def test_exactly_one_span_names_the_kind_and_covers_everything() -> None:
    for doc in DOCUMENTS:
        assert [span for span in doc.spans if span.label == f"in {doc.kind}"] == [Span(0, len(doc.text), f"in {doc.kind}")]


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("person name", {*words.WOMEN, *words.MEN}),
        ("animal", _column(words.ANIMALS, 0, 1)),
        ("town", _column(words.TOWNS, 0)),
        ("landscape", _column(words.TOWNS, 1)),
        ("thing", {form for name in _column(words.THINGS, 0) for form in (name, plural_of(name))}),
        ("food", _column(words.FOODS, 0, 1) | _column(words.ANIMALS, 2)),
        ("job", _column(words.JOBS, 0)),
        ("colour", set(words.COLOURS)),
        ("time of day", _column(words.TIMES, 0)),
    ],
)
def test_what_is_labelled_as_an_entity_is_its_name(label: str, names: set[str]) -> None:
    assert _labelled(label) <= {name.lower() for name in names}


def test_every_person_name_in_a_text_is_labelled() -> None:
    name = re.compile(rf"\b({'|'.join(words.WOMEN + words.MEN)})\b")
    for doc in DOCUMENTS:
        labelled = {(span.start, span.end) for span in doc.spans if span.label == "person name"}
        assert {found.span() for found in name.finditer(doc.text)} == labelled


def test_the_world_is_large() -> None:
    assert len({person.name for person in PEOPLE}) >= 150
    assert len(_column(words.ANIMALS, 0)) >= 60
    assert len(_column(words.TOWNS, 0)) + len(_column(words.PLACES, 1)) >= 50
    assert len(_column(words.THINGS, 0)) >= 100
    assert len(_column(words.FOODS, 0)) >= 60


def test_the_article_fits_the_next_word() -> None:
    wrong = re.compile(r"\b[Aa] [aeiouAEIOU]\w*|\b[Aa]n [^aeiouAEIOU]\w*")
    assert {found for text in TEXTS for found in wrong.findall(text)} <= {"an hour"}


@pytest.mark.parametrize(
    "flaw",
    [r"[{}]", "  ", r" [.,!?]", r"[.,!?][.,]", r"[.!?] [a-z]", "\n\n", "[\ue000-\uf8ff]", r"\b(\w+) \1\b(?<!orange)"],
)
def test_texts_have_no_flaws_of_the_pen(flaw: str) -> None:
    assert [text for text in TEXTS if re.search(flaw, text)] == []


def test_texts_fit_a_short_context() -> None:
    counts = [len(text.split()) for text in TEXTS]
    assert max(counts) <= 160
    assert sum(count >= 30 for count in counts) > 0.95 * len(counts)
    assert 50 <= sum(counts) / len(counts) <= 120


def test_sums_are_right() -> None:
    does = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}
    sums = [found for text in TEXTS for found in re.findall(r"(\d+) ([-+x]) (\d+) = (\d+)", text)]
    assert len(sums) > 100
    assert all(does[sign](int(x), int(y)) == int(z) for x, sign, y, z in sums)


def test_quotation_labels_are_the_quotation_marks_and_what_they_hold() -> None:
    for doc in DOCUMENTS:
        labelled = [(span.start, span.end) for span in doc.spans if span.label == "inside a quotation"]
        assert labelled == [found.span() for found in re.finditer(r'"[^"]*"', doc.text)]


def test_what_was_lost_is_what_is_found() -> None:
    stories = [text for text in TEXTS if "Have you seen my" in text]
    assert len(stories) > 20
    for text in stories:
        lost = re.search(r"Have you seen my (.*?)\?", text)[1]  # type: ignore[index]
        assert re.search(rf"(there was|there lay|found) the {lost}", text)


def test_a_patient_is_fed_what_its_kind_eats() -> None:
    diet = {row.split(" | ")[0]: row.split(" | ")[2] for row in words.ANIMALS.strip().splitlines()}
    fed = [found for text in TEXTS for found in re.findall(r"The ([a-z ]+?) ate the ([a-z ]+?) and soon", text)]
    assert fed and all(diet[animal] == food for animal, food in fed)


def test_a_person_keeps_one_pronoun() -> None:
    for doc in DOCUMENTS:
        if doc.kind == "portrait":
            name = re.search(r"^(?:This is |Do you know )?(\w+)", doc.text)[1]  # type: ignore[index]
            wrong = "he" if name in words.WOMEN else "she"
            assert f"pronoun: {wrong}" not in {span.label for span in doc.spans}


def test_the_answers_are_the_facts_of_the_world() -> None:
    landscape = {row.split(" | ")[0]: row.split(" | ")[1] for row in words.TOWNS.strip().splitlines()}
    told = [found for text in TEXTS for found in re.findall(r"([A-Z]\w+) lies (\w+ \w+ \w+)\.", text)]
    assert told and all(landscape[town] == where for town, where in told if town != "It")


def test_a_token_has_the_labels_that_cover_half_of_its_ink() -> None:
    doc = Document("note", "Mia saw it", (Span(0, 10, "in note"), Span(0, 3, "person name"), Span(4, 5, "s"), Span(6, 7, "s")))
    offsets = [(0, 3), (3, 7), (7, 10), (2, 5), (0, 0), (3, 4)]
    assert token_labels(doc, offsets) == [
        {"in note", "person name"},
        {"in note", "s"},
        {"in note"},
        {"in note", "person name", "s"},
        frozenset(),
        frozenset(),
    ]
