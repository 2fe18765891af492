"""What the runs of one process share: the process's signals and its turn at the device, and what the first of them loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from peft import PeftModel

from lorasae.config import ModelConfig
from lorasae.core.losses import Reduction
from lorasae.core.step import Gradients, ReferenceGradients
from lorasae.home import home
from lorasae.sources.data import Corpus
from lorasae.sources.language_model import chosen_device
from lorasae.sources.loading import Loaded
from lorasae.store.device_turns import Turn, turn_at
from lorasae.training.supervision import Signals, signals_noted
from lorasae.training.threads import threads_put_back
from lorasae.training.way import Faster, nothing_faster


@dataclass
class Workshop:
    """One process at work on one run, or on several that share all of this."""

    signals: Signals
    allowed_threads: int
    faster: Faster = nothing_faster
    threads_chosen: bool = False
    turn: Turn | None = None
    loaded: Loaded | None = None
    corpus: Corpus | None = None
    model: PeftModel | None = None  # with the adapters of all runs so far
    _fast: Gradients | str | None = None  # the answer of `faster`

    def turn_for(self, model: ModelConfig) -> Turn:
        """The turn at the device. It is announced before anything is loaded: an inspection that nobody waits for lets its memory go."""
        if self.turn is None:
            self.turn = turn_at(chosen_device(model.device), home())
            self.turn.announce()
        return self.turn

    def fast_gradients(self, reduction: Reduction) -> Gradients | str:
        """The fast ones of the model that was loaded, or why there are none; asked once, because the runs have the same SAEs and KL."""
        assert self.model is not None and self.loaded is not None
        if self._fast is None:
            self._fast = self.faster(self.model, self.loaded.saes, self.loaded.special_tokens, reduction)
        return self._fast

    def reference_gradients(self, reduction: Reduction) -> ReferenceGradients:
        """Those that are always there."""
        assert self.model is not None and self.loaded is not None
        transforms = {hook_point: sae.reconstruct for hook_point, sae in self.loaded.saes.items()}
        return ReferenceGradients(self.model, transforms, self.loaded.special_tokens, reduction)


@contextmanager
def workshop(faster: Faster = nothing_faster) -> Iterator[Workshop]:
    """The workshop of this process. What it holds of the process is given back in the end."""
    with signals_noted() as signals, threads_put_back() as allowed_threads:
        shop = Workshop(signals, allowed_threads, faster)
        try:
            yield shop
        finally:
            if shop.turn is not None:
                shop.turn.give_back()
                shop.turn.close()
