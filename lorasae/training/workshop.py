"""What the runs of one process share: the process's signals and its turn at the device, and what the first of them loaded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from peft import PeftModel

from lorasae.config import ModelConfig
from lorasae.core.evaluate import Measurement
from lorasae.core.losses import Reduction
from lorasae.core.step import GradientsOfEach, ReferenceGradients, ReferenceOfEach, Student
from lorasae.home import home
from lorasae.sources.data import Corpus
from lorasae.sources.language_model import chosen_device
from lorasae.sources.loading import Loaded
from lorasae.store.device_turns import Turn, turn_at
from lorasae.training.lookahead import Lookahead
from lorasae.training.supervision import Signals, signals_noted
from lorasae.training.threads import threads_put_back
from lorasae.training.way import Faster, Step


@dataclass
class Workshop:
    """One process at work on one run, or on several that share all of this."""

    signals: Signals
    allowed_threads: int
    faster: Faster
    n_runs: int = 1
    threads_chosen: bool = False
    turn: Turn | None = None
    alone_at_device: bool = True  # no other process was at work on a run there when this one came
    loaded: Loaded | None = None
    corpus: Corpus | None = None
    model: PeftModel | None = None  # with the adapters of all runs so far
    lookahead: Lookahead | None = None  # of the steps that are the same for all
    before: Measurement | None = None  # of the conditions before training, which are those of all the runs
    _fast: tuple[tuple[Student, ...], GradientsOfEach | str] | None = None  # the last answer of `faster`, and for which adapters

    def turn_for(self, model: ModelConfig) -> Turn:
        """The turn at the device. It is announced before anything is loaded: an inspection that nobody waits for lets its memory go."""
        if self.turn is None:
            self.turn = turn_at(chosen_device(model.device), home())
            self.alone_at_device = self.turn.announce()
        return self.turn

    def fast_gradients(self, reduction: Reduction, students: Sequence[Student]) -> GradientsOfEach | str:
        """The fast ones of these adapters, or why there are none. The last ones are kept: they are asked for at every step."""
        assert self.model is not None and self.loaded is not None
        if self._fast is None or self._fast[0] != tuple(students):
            self._fast = tuple(students), self.faster(self.model, self.loaded.saes, self.loaded.special_tokens, reduction, students)
        return self._fast[1]

    def reference_gradients(self, reduction: Reduction, students: Sequence[Student]) -> GradientsOfEach:
        """Those that are always there."""
        assert self.model is not None and self.loaded is not None
        transforms = {hook_point: sae.reconstruct for hook_point, sae in self.loaded.saes.items()}
        return ReferenceOfEach(ReferenceGradients(self.model, transforms, self.loaded.special_tokens, reduction), students)

    def gradients(self, step: Step, reduction: Reduction, students: Sequence[Student]) -> GradientsOfEach:
        """The gradients of runs that are trained by this step."""
        fast = self.fast_gradients(reduction, students) if step == "fast" else ""
        return self.reference_gradients(reduction, students) if isinstance(fast, str) else fast


@contextmanager
def workshop(faster: Faster, n_runs: int = 1) -> Iterator[Workshop]:
    """The workshop of this process and its runs. What it holds of the process is given back in the end."""
    with signals_noted() as signals, threads_put_back() as allowed_threads:
        shop = Workshop(signals, allowed_threads, faster, n_runs)
        try:
            yield shop
        finally:
            if shop.turn is not None:
                shop.turn.give_back()
                shop.turn.close()
