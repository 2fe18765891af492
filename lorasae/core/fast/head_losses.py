"""Both losses of every token under several conditions, for evaluation: the original's logits are made once for all, a chunk at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorasae.core.fast.chunks import rows_per_chunk
from lorasae.core.fast.kl_head import Buffers, Head, Projection


@dataclass(frozen=True)
class TokenLosses:
    """What one condition costs at each token, nats, fp32 or better."""

    ce: Tensor  # (tokens,), cross-entropy of the token that came next
    kl: Tensor  # (tokens,), KL(original || this condition); zeros for the original itself


@torch.no_grad()
def token_losses(head: Head, original: Tensor, others: Sequence[Tensor], next_ids: Tensor) -> list[TokenLosses]:
    """The losses of the original and then of each of the others, in their order; no gradient.

    Args:
        head: Shared by all conditions.
        original: `(tokens, d)`, final-normed hidden states of the original model.
        others: Each `(tokens, d)`, the same tokens under another condition.
        next_ids: `(tokens,)`; where nothing comes next any valid id may stand, and that token's ce means nothing.
    """
    tokens, rows = len(original), rows_per_chunk(len(head.weight), original.is_cuda)
    losses = torch.empty(1 + len(others), 2, tokens, dtype=head.logits_dtype, device=original.device)
    projection = Projection(head)
    ours, theirs = Buffers(projection, min(rows, tokens)), Buffers(projection, min(rows, tokens))
    for start in range(0, tokens, rows):
        chunk = slice(start, start + rows)
        target = ours.distribution(original[chunk])
        losses[0, 0, chunk], losses[0, 1, chunk] = target.cross_entropy(next_ids[chunk]), target.kl
        for index, hidden in enumerate(others, start=1):
            answer = theirs.distribution(hidden[chunk], target)
            losses[index, 0, chunk], losses[index, 1, chunk] = answer.cross_entropy(next_ids[chunk]), answer.kl
    return [TokenLosses(ce, kl) for ce, kl in losses]
