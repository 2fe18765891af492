"""The pocket world's text as token chunks, and the positions in them that count."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lorasae.core.packing import pack
from lorasae.core.special_tokens import SpecialTokens
from lorasae.demo.build.plan import BOS, EOS, PAD
from lorasae.demo.text import documents

SPECIAL_TOKENS = SpecialTokens(bypassed=(PAD, EOS, BOS), unscored=(PAD, EOS, BOS))
"""Neither passed through an SAE nor scored."""

_ENDLESS = 10**9
_DOCUMENTS_AT_ONCE = 1000


def texts(seed: int, n: int = _ENDLESS) -> Iterator[str]:
    """The first n texts of a seed."""
    return (document.text for document in documents(seed, n))


def token_chunks(tokenizer: PreTrainedTokenizerFast, seed: int, n_chunks: int, context_length: int) -> Tensor:
    """The first chunks of a seed's text, packed as in training: `(n_chunks, context_length)`, int16 to be small in memory."""
    chunks = islice(pack(_encoded(tokenizer, seed), context_length, BOS, EOS), n_chunks)
    return torch.from_numpy(np.stack([np.array(chunk, dtype=np.int16) for chunk in chunks]))


def _encoded(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[list[int]]:
    stream = texts(seed)
    while group := list(islice(stream, _DOCUMENTS_AT_ONCE)):
        yield from tokenizer(group, add_special_tokens=False).input_ids
