"""The index held against the run folders: what something else made is taken in, what is gone is forgotten, the folder's word goes first."""

import time
from collections.abc import Iterator

from lorasae.errors import LabError
from lorasae.store.run_folder import Run
from lorasae.store.run_index import Row, RunIndex
from lorasae.store.run_records import About
from lorasae.store.runs import RunStore

_SETTLED_NS = 1_000_000_000  # file systems count time in coarse steps: two changes within one may look like one


class FoundRuns:
    """The folders of a home beside its index. Whoever calls holds the jobs' lock."""

    def __init__(self, store: RunStore, index: RunIndex) -> None:
        self.store, self.index = store, index
        self._seen = 0  # when the folder of runs had last changed

    def take_in(self) -> list[tuple[Row, Run]]:
        """Enter runs into the index that a terminal made, or an app whose index is lost; those that are new in it."""
        changed = self.store.root.stat().st_mtime_ns if self.store.root.is_dir() else 0
        if changed == self._seen:
            return []
        new = [Run(self.store.root / run_id) for run_id in self.store.ids() if run_id not in self.index.known()]
        found = []
        for run in sorted(new, key=lambda run: (run.owed_since or "", run.run_id)):
            if (about := _about(run)) is not None:
                job = "queued" if run.owed_since else ""
                found.append((self.index.add(run.run_id, about, job, self.index.next_place(), run.attempt), run))
        if time.time_ns() - changed > _SETTLED_NS:
            self._seen = changed
        return found

    def agreed(self) -> Iterator[tuple[Row, Run]]:
        """Every run of the index that still has a folder, once both say the same about it; the others are forgotten."""
        runs = {run.run_id: run for run in self.store.all()}
        for run_id in self.index.known():
            row, run = self.index.row(run_id), runs.get(run_id)
            if run is None or row is None:
                self.index.remove(run_id)
                continue
            about = _about(run)
            if about and (about.owner, about.name, about.shared, about.hidden) != (row.owner, row.name, row.shared, row.hidden):
                self.index.describe(run_id, about)
            yield row, run


def _about(run: Run) -> About | None:
    """What is said about a run; None of a damaged or newer one, which is not listed, and left alone."""
    try:
        return run.about
    except LabError:
        return None
