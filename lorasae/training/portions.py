"""A micro-batch that does not fit into the memory is halved: the same step and the same gradient to rounding, in smaller portions."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from lorasae.errors import LabError
from lorasae.training.workbench import Workbench

# Where torch raises a plain RuntimeError: the machine's allocator, C++'s own, and cuBLAS for its workspace.
_WORDS = ("can't allocate memory", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")

Answer = TypeVar("Answer")


def in_portions(benches: Sequence[Workbench], work: Callable[[int], Answer]) -> Answer:
    """What `work` answers when it computes as many sequences at once as the runs do, or as few as fit; the runs then stay with so few.

    Args:
        benches: The runs that it computes for.
        work: Takes the number of sequences; after an error it can be called again as if it had not been before.

    Raises:
        LabError: If not even one sequence fits.
    """
    while True:
        at_once = min(bench.way.micro_batch_size for bench in benches)
        try:
            return work(at_once)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found = _in_a_line(error)
        # only here is nothing of the failed attempt alive any more
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if at_once == 1:
            context = benches[0].config.data.context_length
            raise LabError(
                f"The run {benches[0].run.run_id} was to compute one sequence of {context} tokens at a time",
                f"Not even that fits into the memory: {found}",
                "Set a smaller data.context_length or adapter.rank, model.dtype to bfloat16, or use a machine with more memory",
            )
        for bench in benches:
            bench.halve(at_once)
            bench.run.append_log(
                f"{at_once} sequences at once did not fit into the memory ({found}); from now on {bench.way.micro_batch_size}, "
                "with the same sequences per step"
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in _WORDS)


def _in_a_line(error: BaseException) -> str:
    """What the allocator said, without where in torch it said it, and without its advice."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rpartition("Allocator: ")[2]
    return said.partition(". ")[0][:160]
