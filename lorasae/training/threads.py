"""How many threads compute fastest here: tried out, because it depends on the model's size and on who else uses the cores.

On shared cores two threads may be slower than one, each waiting for the other to be let in; on free ones they are nearly twice as fast.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

LONG_S = 1.0  # work that takes so long with all threads is large enough to use them, and is not tried again with fewer
_ROUNDS = 2  # of which the best counts


@contextmanager
def threads_put_back() -> Iterator[int]:
    """Inside the block the number of torch's threads may be changed. Yields how many there may be: what torch itself began with."""
    allowed = torch.get_num_threads()
    try:
        yield allowed
    finally:
        torch.set_num_threads(allowed)


def are_prescribed() -> bool:
    """Whether whoever started the process said how many."""
    return bool(os.environ.get("OMP_NUM_THREADS"))


def fastest(allowed: int, work: Callable[[], object]) -> int:
    """With how many threads, of one, half of those allowed, and all, `work` takes least time; torch uses as many from now on."""
    seconds: dict[int, float] = {}
    for n_threads in sorted({allowed, max(1, allowed // 2), 1}, reverse=True):
        torch.set_num_threads(n_threads)
        if not seconds:
            work()  # warms up
        seconds[n_threads] = min(_timed(work) for _ in range(_ROUNDS))
        if seconds[n_threads] > LONG_S:
            break
    best = min(seconds, key=seconds.__getitem__)
    torch.set_num_threads(best)
    return best


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
