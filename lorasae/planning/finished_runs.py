"""How fast this machine was in runs that finished on it: their own record, which no short measurement can match. No torch.

Training speed and memory stand in the last row of metrics.jsonl; how long loading and the final measurement took, in run.log.
"""

import json
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.store.run_folder import Run
from lorasae.store.run_records import read_record
from lorasae.store.runs import RunStore

MOST_LOOKED_AT = 40  # of the newest runs
_LAST_ROW_BYTES = 8192
_DAY_S = 86400


@dataclass(frozen=True)
class FinishedRun:
    """What a run showed of this machine's speed."""

    name: str
    owner: str
    config: RunConfig
    tokens_per_s: float  # in training, without evaluations
    peak_bytes: float
    loading_s: float  # model, SAEs and text; not the start of Python
    final_measurement_s: float
    ended: str


class FinishedRuns:
    """The runs of a home that succeeded; each is read once, because it does not change any more."""

    def __init__(self, home: Path) -> None:
        self._store = RunStore(home)
        self._read: dict[str, FinishedRun | None] = {}

    def newest(self) -> Iterator[FinishedRun]:
        """Those of this machine, the newest first."""
        for run_id in islice(reversed(self._store.ids()), MOST_LOOKED_AT):
            if run_id not in self._read:
                run = Run(self._store.root / run_id)
                try:
                    if run.told.state not in ("succeeded", "failed"):
                        continue  # it may still finish
                    self._read[run_id] = _finished(run) if run.told.state == "succeeded" else None
                except (LabError, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
                    self._read[run_id] = None  # damaged, or of another version
            if found := self._read[run_id]:
                yield found


def _finished(run: Run) -> FinishedRun | None:
    """The run's record; None if it was made elsewhere, or shared the work and the clock with others.

    Raises:
        LabError: If it does not say by which step it was trained: it is of a time when there was but the slow one.
    """
    if run.described.get("versions", {}).get("platform") != platform.platform() or read_record(run.folder, run.way_file.name).get("beside"):
        return None
    with run.metrics_file.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LAST_ROW_BYTES))
        row = json.loads(file.read().splitlines()[-1])
    phases = _phases(run.log.read_text(encoding="utf-8", errors="replace"))
    return FinishedRun(
        name=run.about.name or run.run_id,
        owner=run.about.owner,
        config=run.config,
        tokens_per_s=float(row["tokens_per_s"]),
        peak_bytes=float(row["peak_memory_bytes"]),
        loading_s=_between(phases, "loading", "measuring"),
        final_measurement_s=_between(phases, "evaluating", "saving"),
        ended=_ended(run),
    )


def _ended(run: Run) -> str:
    """When its status was written last, as an ISO time."""
    updated = run.told.updated
    datetime.fromisoformat(updated)
    return updated


def _phases(log: str) -> list[tuple[str, int]]:
    """Phases and the second of the day at which each began, in order; a run that was taken up has some of them several times."""
    lines = re.findall(r"^(\d\d):(\d\d):(\d\d) (\w+):", log, flags=re.MULTILINE)
    return [(name, 3600 * int(hours) + 60 * int(minutes) + int(seconds)) for hours, minutes, seconds, name in lines]


def _between(phases: list[tuple[str, int]], first: str, then: str) -> float:
    """Seconds from where `first` began for the last time before `then` did; 0 if the log does not tell."""
    ends = [index for index, (name, _) in enumerate(phases) if name == then]
    begins = [second for name, second in phases[: ends[-1]] if name == first] if ends else []
    return float((phases[ends[-1]][1] - begins[-1]) % _DAY_S) if begins else 0.0
