"""How many tokens a head or a wide SAE takes at a time; known without torch, so that estimates of memory can ask.

Measured with one thread of a processor: neither gains from more rows. A GPU wants as many as its arithmetic outruns its memory by, some
hundreds, because every chunk reads all weights again; what it gets here is reasoned, not measured.
"""

N_BUFFERS = 4  # teacher and student: logits and probabilities of each
BYTES_PER_VALUE = 4  # logits are fp32 even where weights are bf16


def rows_per_chunk(vocab: int, on_gpu: bool) -> int:
    """Tokens whose `(rows, vocab)` buffers are held at once."""
    bound, least, most = (2**31, 128, 4096) if on_gpu else (2**27, 64, 128)
    return _within(bound, vocab * BYTES_PER_VALUE * N_BUFFERS, least, most)


def chunk_bytes(vocab: int, on_gpu: bool) -> int:
    """Bytes of the head's buffers for one chunk."""
    return rows_per_chunk(vocab, on_gpu) * vocab * BYTES_PER_VALUE * N_BUFFERS


def encoded_rows_per_chunk(d_sae: int, on_gpu: bool) -> int:
    """Tokens that meet all features of an SAE at once: one `(rows, d_sae)` buffer and a mask."""
    bound, least, most = (2**31, 128, 4096) if on_gpu else (2**27, 64, 256)
    return _within(bound, 2 * BYTES_PER_VALUE * d_sae, least, most)


def _within(bound: int, bytes_per_row: int, least: int, most: int) -> int:
    return max(least, min(most, bound // bytes_per_row))
