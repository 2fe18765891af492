"""A private stream of torch's random numbers: what one adapter draws does not depend on who else draws in the same process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Randomness:
    """Where one adapter's stream of random numbers has got to, on the CPU and on its GPU."""

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        """
        Args:
            seed: The stream is the one that `torch.manual_seed(seed)` begins.
            device: Where the model is, if that is a GPU: masks of dropout are drawn there.
        """
        self._gpus = [device] if device is not None and device.type == "cuda" else []
        with torch.random.fork_rng(self._gpus):
            torch.manual_seed(seed)
            self._state = self._reached()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside the block torch draws from this stream; afterwards the global one goes on as if nothing had been drawn.

        After an error the stream is where it was before the block, so that the same can be tried again.
        """
        with torch.random.fork_rng(self._gpus):
            self._go_to(self._state)
            yield
            self._state = self._reached()

    @property
    def state(self) -> dict[str, Tensor]:
        """For a checkpoint: torch's generator states, by kind of device."""
        return dict(self._state)

    @state.setter
    def state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint; a stream that it does not have, because it was made without a GPU, goes on as it is."""
        self._state = {**self._state, **{kind: state[kind] for kind in self._state if kind in state}}

    def _reached(self) -> dict[str, Tensor]:
        reached = {"cpu": torch.get_rng_state()}
        return {**reached, "cuda": torch.cuda.get_rng_state(self._gpus[0])} if self._gpus else reached

    def _go_to(self, state: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        for gpu in self._gpus:
            torch.cuda.set_rng_state(state["cuda"], gpu)
