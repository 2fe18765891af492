"""How many tokens a head or a wide SAE takes at a time; known without torch, so that estimates of memory can ask."""

N_BUFFERS = 4  # teacher and student: logits and probabilities of each
BYTES_PER_VALUE = 4  # logits are fp32 even where weights are bf16


def rows_per_chunk(vocab: int, on_gpu: bool) -> int:
    """Tokens whose `(rows, vocab)` buffers are held at once.

    A processor gains nothing beyond 128 rows. A GPU wants as many as its arithmetic outruns its memory by, some hundreds, because every
    chunk reads the whole head again.
    """
    bound, least, most = (2**31, 128, 4096) if on_gpu else (2**27, 64, 128)
    return max(least, min(most, bound // (vocab * BYTES_PER_VALUE * N_BUFFERS)))


def chunk_bytes(vocab: int, on_gpu: bool) -> int:
    """Bytes of the buffers of one chunk."""
    return rows_per_chunk(vocab, on_gpu) * vocab * BYTES_PER_VALUE * N_BUFFERS
