"""The cards of many runs. A run that has ended is looked into once: a list of a thousand is made of what is remembered of them."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress

from lorasae.errors import LabError
from lorasae.lab import Lab
from lorasae.store.run_folder import EXAMPLE_ID, Run, example
from lorasae.web.glances import Glances
from lorasae.web.summaries import Summary, card

_ENDED = ("succeeded", "stopped", "failed", "interrupted")
_FILES = ("config.json", "about.json", "status.json", "pins.json", "lorasae.json", "metrics.jsonl", "queued")
_KEPT = 4096
Version = tuple[object, ...]


class Cards:
    """Cards as one visitor sees them."""

    def __init__(self, lab: Lab, glances: Glances) -> None:
        self._lab, self._glances = lab, glances
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Version, Summary]] = OrderedDict()

    def of_visitor(self, visitor: str) -> Iterator[Summary]:
        """The visitor's own runs, newest first. A damaged one is left out: the list does not fail because of it."""
        for row in self._lab.jobs.runs_of(visitor):
            with suppress(LabError):
                yield self._card(row.run_id, str(self._lab.store.root / row.run_id), visitor, under_way=bool(row.job))

    def example(self, visitor: str) -> Summary | None:
        """The run that comes with the lab."""
        run = example()
        if run is not None:
            with suppress(LabError):
                return self._card(EXAMPLE_ID, str(run.folder), visitor, under_way=False)
        return None

    def _card(self, run_id: str, folder: str, visitor: str, *, under_way: bool) -> Summary:
        version = (visitor, *(_version(f"{folder}/{name}") for name in _FILES))
        with self._lock:
            kept = self._kept.get(run_id)
        if kept is not None and kept[0] == version and not under_way:
            return kept[1]
        made = self._made(self._lab.store.open_id(run_id), visitor)
        if made["state"] in _ENDED and not under_way:
            with self._lock:
                self._kept[run_id] = (version, made)
                self._kept.move_to_end(run_id)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def _made(self, run: Run, visitor: str) -> Summary:
        return card(self._lab, run, visitor, self._glances.of(run.metrics_file))


def _version(path: str) -> Version:
    try:
        stat = os.stat(path)  # noqa: PTH116  # seven a run, and a Path costs more than the asking
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
