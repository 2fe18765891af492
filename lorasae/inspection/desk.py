"""Opened runs, a few at a time, each with what was worked out about it already."""

from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorasae.config import SAERef
from lorasae.core.features import batch_firings
from lorasae.costs.machine import free_ram_bytes
from lorasae.errors import LabError
from lorasae.inspection.activity import Activity, ActivityCache, Progress, compute, heldout_part
from lorasae.inspection.comparison import Comparison, compare
from lorasae.inspection.opened_run import OpenedRun, OpenedSAE
from lorasae.sources.data import micro_batches
from lorasae.store.run_folder import Run

N_DESKS = 3
N_COMPARISONS = 32
N_ACTIVITIES = 24
TYPICAL_TOKENS = 2048
_SPARE_BYTES = 2 * 2**30  # memory that opening another run should leave to others


@dataclass
class _Pass:
    """A pass over held-out text that was begun."""

    work: Generator[Progress, None, Activity]
    progress: Progress = (0, 1)


@dataclass
class Desk:
    """One opened run, and recent answers about it."""

    opened: OpenedRun
    cache: ActivityCache
    _comparisons: OrderedDict[tuple[SAERef, str], Comparison] = field(default_factory=OrderedDict)
    _activities: OrderedDict[SAERef, Activity | None] = field(default_factory=OrderedDict)  # None: not on disk either
    _passes: dict[SAERef, _Pass] = field(default_factory=dict)
    _typical: dict[SAERef, NDArray[np.float32]] = field(default_factory=dict)

    def comparison(self, observed: OpenedSAE, text: str) -> Comparison:
        """The text under the three conditions; a recent one is not worked out again."""
        key = (observed.card.ref, text)
        if key not in self._comparisons:
            self._comparisons[key] = compare(self.opened, text, {observed.hook_point: observed.sae})
        return _recent(self._comparisons, key, N_COMPARISONS)

    def activity(self, observed: OpenedSAE) -> Activity | None:
        """What the SAE did on held-out text, if the pass was made."""
        ref = observed.card.ref
        if ref not in self._activities:
            self._activities[ref] = self.cache.load(self.opened, observed)
        return _recent(self._activities, ref, N_ACTIVITIES)

    def go_on(self, observed: OpenedSAE) -> Progress:
        """One step of the pass over held-out text; whoever waits for it takes the next step, so it is made once."""
        ref = observed.card.ref
        if ref not in self._passes:
            self._passes[ref] = _Pass(compute(self.opened, observed))
        under_way = self._passes[ref]
        try:
            under_way.progress = next(under_way.work)
        except StopIteration as end:
            del self._passes[ref]
            self._activities[ref] = end.value
            self.cache.save(self.opened, observed, end.value)
        except BaseException:
            del self._passes[ref]
            raise
        return under_way.progress

    def progress(self, observed: OpenedSAE) -> dict[str, Any]:
        """Whether the pass was made, else how far it is."""
        if self.activity(observed) is not None:
            return {"ready": True, "progress": 1.0}
        under_way = self._passes.get(observed.card.ref)
        done, total = under_way.progress if under_way else (0, 1)
        return {"ready": False, "progress": round(done / total, 4)}

    def typical_maximum(self, observed: OpenedSAE, feature: int) -> float:
        """The unit of steering: a feature's largest activation on the first held-out tokens, under the original model.

        For features that are silent there, the median of the others'. Always measured on the same text, so that a link to a steered text
        gives the same text again.
        """
        ref = observed.card.ref
        if ref not in self._typical:
            self._typical[ref] = self._maxima(observed)
        maxima = self._typical[ref]
        return float(maxima[feature] or np.median(maxima[maxima > 0]) if maxima.any() else 1.0)

    def _maxima(self, observed: OpenedSAE) -> NDArray[np.float32]:
        chunks = heldout_part(self.opened, TYPICAL_TOKENS)
        place = (observed.hook_point, observed.sae)
        batches = micro_batches(chunks, max(1, 1024 // chunks.shape[1]), self.opened.loaded.device)
        found = [batch_firings(self.opened.model, ids, "original", {}, place, self.opened.special_tokens).maximum for ids in batches]
        return np.max(found, axis=0)


def _recent(kept: OrderedDict[Any, Any], key: Any, n: int) -> Any:
    kept.move_to_end(key)
    while len(kept) > n:
        kept.popitem(last=False)
    return kept[key]


class Desks:
    """The opened runs. The longest unused is closed when there are too many, or too little memory for another."""

    def __init__(self, cache: ActivityCache, device_for: Callable[[Run], str | None] = lambda _: None) -> None:
        self.cache, self._device_for = cache, device_for
        self._desks: OrderedDict[tuple[Any, ...], Desk] = OrderedDict()

    def at(self, folder: str) -> Desk:
        """The run in a folder, opened now if it is not.

        Raises:
            LabError: If it is not finished, or something of it is missing or damaged.
        """
        run = Run(Path(folder))
        if not run.has_result:
            found = f"It is not finished: {run.status.state}, step {run.status.step} of {run.status.n_steps}"
            raise LabError("A run was to be inspected", found, "Wait for it on its own page, or stop it there and keep what it has")
        key = (str(run.folder), *_stamp(run.folder / "lorasae.json"), *_stamp(run.adapter / "adapter_model.safetensors"))
        if key not in self._desks:
            for other in [each for each in self._desks if each[0] == key[0]]:  # the run was done again, or is gone
                del self._desks[other]
            while self._desks and (len(self._desks) >= N_DESKS or _memory_is_short(self._desks.values())):
                self._desks.popitem(last=False)
            self._desks[key] = Desk(_opened(run, self._device_for(run)), self.cache)
        return _recent(self._desks, key, N_DESKS)


def _opened(run: Run, device: str | None) -> OpenedRun:
    try:
        return OpenedRun(run, device)
    except MemoryError:
        raise LabError(f"The run {run.run_id} was to be opened", "There is not enough memory", "Close other programs") from None


def _stamp(path: Path) -> tuple[int, int]:
    """By which a changed file is known: its size and time; zeros if it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _memory_is_short(desks: Any) -> bool:
    """Whether another run as large as the largest would leave less than _SPARE_BYTES."""
    return free_ram_bytes() < max(desk.opened.n_bytes for desk in desks) + _SPARE_BYTES
