"""What does not depend on the adapter, computed before the step that needs it: many sequences at once, and only once where they come again.

A sequence's numbers depend, in their last bits, on what it is computed with. So it is always computed with the same others: those that
stand beside it in the corpus (`kept`) or in the order of the steps (`ahead`). A run that goes on finds the same bits, wherever it was
broken off.
"""

from collections.abc import Mapping

import torch

from lorasae.config import RunConfig
from lorasae.core.fast.step import FastGradients, Frozen
from lorasae.core.hook_points import text_config
from lorasae.sources.data import Chunks, micro_batches, step_rows
from lorasae.sources.loading import Loaded
from lorasae.training.memory import free_bytes
from lorasae.training.way import Ahead

TOKENS_AT_ONCE = {"cuda": 8192, "cpu": 1024}  # fill a GPU; on a CPU more would gain nothing
SHARE = 0.15  # of the memory that is free before training, which may be kept filled


def how_far_ahead(config: RunConfig, loaded: Loaded, corpus: Chunks) -> Ahead:
    """What pays for a run: keeping all if it comes again and has room, else filling the GPU."""
    hidden = text_config(loaded.model).hidden_size
    n_bytes = 2 * corpus.size * hidden * torch.finfo(loaded.model.dtype).bits // 8
    if config.n_steps * config.sequences_per_step > len(corpus) and n_bytes <= SHARE * free_bytes(loaded.device):
        return "kept"
    fills = config.train.tokens_per_step >= TOKENS_AT_ONCE["cuda"]
    return "ahead" if loaded.device.type == "cuda" and not fills else "with the step"


class Lookahead:
    """The frozen parts of one run's steps, or of several runs' that have the same."""

    def __init__(self, corpus: Chunks, config: RunConfig, device: torch.device) -> None:
        self._corpus, self._device = corpus, device
        self._seed, self._per_step = config.order_seed, config.sequences_per_step
        self._at_once = max(1, TOKENS_AT_ONCE[device.type] // corpus.shape[1])
        self._gradients: FastGradients | None = None
        self._blocks: dict[int, Frozen] = {}

    def of(self, gradients: FastGradients, step: int, size: int, ahead: Ahead) -> list[Frozen]:
        """Of each micro-batch of `size` sequences of a step, computed by these gradients (whose adapters decide what is frozen)."""
        if self._gradients is not gradients:
            self._gradients, self._blocks = gradients, {}
        whole = self._from_corpus(gradients, step) if ahead == "kept" else self._from_steps(gradients, step)
        return [whole.rows(start, start + size) for start in range(0, self._per_step, size)]

    def _from_corpus(self, gradients: FastGradients, step: int) -> Frozen:
        """Blocks of sequences that stand side by side in the corpus; all are kept."""
        rows = step_rows(len(self._corpus), self._seed, step, self._per_step)
        for block in {row // self._at_once for row in rows} - self._blocks.keys():
            start = block * self._at_once
            self._blocks[block] = self._computed(gradients, self._corpus[start : start + self._at_once])
        return _gathered(self._blocks, [divmod(row, self._at_once) for row in rows])

    def _from_steps(self, gradients: FastGradients, step: int) -> Frozen:
        """Blocks of whole steps; the one in use is kept."""
        n_steps = max(1, self._at_once // self._per_step)
        block, place = divmod(step, n_steps)
        if block not in self._blocks:
            self._blocks = {}
            steps = range(block * n_steps, (block + 1) * n_steps)
            rows = [row for each in steps for row in step_rows(len(self._corpus), self._seed, each, self._per_step)]
            self._blocks = {block: self._computed(gradients, self._corpus[rows])}
        return self._blocks[block].rows(place * self._per_step, (place + 1) * self._per_step)

    def _computed(self, gradients: FastGradients, chunks: Chunks) -> Frozen:
        (ids,) = micro_batches(chunks, len(chunks), self._device)
        return gradients.frozen(ids)


def _gathered(blocks: Mapping[int, Frozen], places: list[tuple[int, int]]) -> Frozen:
    """Single sequences out of their blocks."""
    return Frozen(*(torch.stack([getattr(blocks[block], name)[row] for block, row in places]) for name in ("stream", "teacher")))
