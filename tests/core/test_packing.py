"""Documents joined by EOS and cut to length, BOS first in every chunk."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasae.core.packing import pack

DOCUMENTS = st.lists(st.lists(st.integers(3, 60), max_size=40), max_size=12)
TOKENS = st.one_of(st.none(), st.just(1)), st.one_of(st.none(), st.just(2))


@given(documents=DOCUMENTS, context_length=st.integers(2, 16), bos_id=TOKENS[0], eos_id=TOKENS[1])
def test_chunks_are_the_joined_stream_with_bos_put_first_and_only_the_rest_dropped(
    documents: list[list[int]], context_length: int, bos_id: int | None, eos_id: int | None
) -> None:
    chunks = list(pack(documents, context_length, bos_id, eos_id))
    assert all(len(chunk) == context_length for chunk in chunks)
    n_bos = 0 if bos_id is None else 1
    assert all(chunk[:n_bos] == [bos_id][:n_bos] for chunk in chunks)

    stream = list(itertools.chain.from_iterable(document + ([] if eos_id is None else [eos_id]) for document in documents))
    packed = list(itertools.chain.from_iterable(chunk[n_bos:] for chunk in chunks))
    assert packed == stream[: len(packed)]
    assert 0 <= len(stream) - len(packed) < context_length - n_bos


def test_a_case_by_hand() -> None:
    assert list(pack([[5, 6], [7, 8, 9], [10]], 4, bos_id=1, eos_id=2)) == [[1, 5, 6, 2], [1, 7, 8, 9], [1, 2, 10, 2]]


def test_documents_are_read_one_by_one_as_chunks_are_taken() -> None:
    """A streamed corpus has no end: packing must not wait for it."""
    endless = ([3, 4, 5] for _ in itertools.count())
    assert list(itertools.islice(pack(endless, 4, 1, 2), 2)) == [[1, 3, 4, 5], [1, 2, 3, 4]]


@pytest.mark.parametrize("documents", [[], [[]], [[3]]])
def test_too_little_text_gives_no_chunk(documents: list[list[int]]) -> None:
    assert list(pack(documents, 8, 1, 2)) == []
