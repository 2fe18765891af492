"""The way a run's steps are computed: chosen when it is set up, told in its log, and kept in way.json.

A run that goes on goes the same way, so that it ends in the bits it would have ended in: another step, another number of threads, or
another micro-batch round differently.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from peft import PeftModel

from lorasae.config import RunConfig
from lorasae.core.fast.anatomy import NoAnatomy
from lorasae.core.fast.step import FastGradients
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import Reduction
from lorasae.core.sae import FrozenSAE
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.step import GradientsOfEach, Student
from lorasae.store.durable import write_json
from lorasae.store.run_folder import Run

# The fast gradients of a model, SAEs and these of its adapters; or why there are none, as the end of a sentence with "because".
Faster = Callable[[PeftModel, Mapping[HookPoint, FrozenSAE], SpecialTokens, Reduction, Sequence[Student]], GradientsOfEach | str]

# with the step: by the step itself. ahead: of several steps at once, for a GPU that a step does not fill. kept: of the whole corpus, which
# the run goes through more than once.
Ahead = Literal["with the step", "ahead", "kept"]
_TOLD = {"ahead": "for several steps at once", "kept": "once for the whole text"}

Step = Literal["fast", "reference"]
SWITCHED_OFF = "the settings say so (train.fast)"


def fast_gradients(
    model: PeftModel, saes: Mapping[HookPoint, FrozenSAE], special_tokens: SpecialTokens, reduction: Reduction, students: Sequence[Student]
) -> GradientsOfEach | str:
    """Those of `lorasae.core.fast`."""
    try:
        return FastGradients(model, saes, special_tokens, reduction, students)
    except NoAnatomy as why:
        return str(why)


@dataclass(frozen=True)
class Way:
    """How the steps of one run are computed."""

    step: Step
    because: str  # why not the fast one; empty where it is
    micro_batch_size: int  # sequences at once: as the settings say, or fewer since the memory did not suffice
    n_threads: int | None  # on the CPU; None where a GPU computes
    beside: int = 0  # other runs that are trained in the same process, with which it shares the work and the clock
    frozen: Ahead = "with the step"  # when that is computed which does not depend on the adapter; of the fast step

    def __str__(self) -> str:
        reason = f", because {self.because}" if self.because else ""
        threads = "" if self.n_threads is None else f"; {self.n_threads} {'thread' if self.n_threads == 1 else 'threads'}"
        frozen = f"; what is frozen, {_TOLD[self.frozen]}" if self.frozen in _TOLD else ""
        beside = f"; together with {self.beside} other{'s' if self.beside > 1 else ''}" if self.beside else ""
        at_once = f"{self.micro_batch_size} sequence{'s' * (self.micro_batch_size > 1)} at once"
        return f"Trained by the {self.step} step{reason}; {at_once}{threads}{frozen}{beside}"


def recorded_way(run: Run) -> Way | None:
    """The way that a run went before; None of one that was not begun."""
    try:
        return Way(**json.loads(run.way_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def record_way(run: Run, way: Way) -> None:
    """Keep it for whenever the run goes on."""
    write_json(run.way_file, asdict(way))


def why_not_fast(config: RunConfig, before: Way | None) -> str:
    """Why a run is not to be trained by the fast step, were there one; empty if it may be.

    Args:
        config: Its settings.
        before: How it was trained until now, if it goes on.
    """
    if before is not None and before.step == "reference":
        return before.because
    return "" if config.train.fast else SWITCHED_OFF
