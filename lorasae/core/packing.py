"""Text as the model is trained on it: documents joined by EOS, cut to the context length, BOS first in every chunk.

The rule of the paper's data (research code: EleutherAI's `chunk_and_tokenize`), without its leak: callers split documents into training
and held-out *before* packing, so no document is shared. Documents attend to each other within a chunk, as in the paper.
"""

from collections.abc import Iterable, Iterator, Sequence


def pack(documents: Iterable[Sequence[int]], context_length: int, bos_id: int | None, eos_id: int | None) -> Iterator[list[int]]:
    """Yield chunks of exactly `context_length` token ids; the incomplete rest at the end is dropped.

    Args:
        documents: Token ids of each document, without special tokens.
        context_length: Tokens per chunk, the BOS included.
        bos_id: Put first in every chunk; None for models without one.
        eos_id: Put after every document; None for models without one.
    """
    head = [] if bos_id is None else [bos_id]
    tail = [] if eos_id is None else [eos_id]
    room = context_length - len(head)
    buffer: list[int] = []
    for document in documents:
        buffer.extend(document)
        buffer.extend(tail)
        start = 0
        while len(buffer) - start >= room:
            yield head + buffer[start : start + room]
            start += room
        del buffer[:start]
