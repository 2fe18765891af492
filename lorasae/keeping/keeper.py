"""Runs and uploads copied out of a home while they change, by a thread that nobody waits for.

What a run's folder in the place holds and the run does not is removed: from a checkpoint that another copy of the app left there, without
the measurements before it, the run would be taken up wrongly. Runs and uploads that this lab has neither copied nor restored are left
alone. A place that is full or gone is told in a sentence, and tried again until it is back. So is a home that is gone: nothing is removed.
"""

import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from lorasae.errors import sentence
from lorasae.keeping.copying import CHECKPOINTS, LAST, PART, SEAL, Look, copy_file, files_of
from lorasae.keeping.place import Place
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore

_LOOK_S = 2.0
_AFTER_PROBLEM_S = 20.0
_GROWING_S = 60.0  # how often the files are copied that grow with every step
_GROWING = {"metrics.jsonl", "replay.jsonl", "run.log", LAST}
_UPLOADS = "uploads"
_CLOSE_S = 6.0  # a Space gives ten seconds for everything
_NO_ANSWER_S = 120.0


class Keeper:
    """Copies a home's runs to a place as long as it is open. Safe to ask from any thread; only its own does the work."""

    def __init__(self, store: RunStore, place: Place, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.place = store, place
        self.not_restored = ""  # what could not be brought back at the start, as a sentence
        self._clock = clock
        self._kept: dict[str, dict[str, Look]] = {}  # folder below the home -> its files as they were copied last
        self._kept_at: dict[str, float] = {}
        self._settled: dict[str, int] = {}  # folders at rest -> when they had last changed
        self._problem = ""  # that the last look met, as the end of a sentence
        self._looking_since: float | None = None
        self._in_step_at = datetime.now(UTC)
        self._closing, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def close(self) -> None:
        """Copy what changed last, for some seconds at most."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def problems(self) -> list[str]:
        """What keeps runs from being copied, in sentences."""
        since = self._looking_since
        quiet = self._clock() - since if since is not None else 0.0
        silence = f"it has not answered for {quiet:.0f} s" if quiet > _NO_ANSWER_S else ""
        found = silence or self._problem
        told = [self.not_restored] if self.not_restored else []
        if found:
            lost = f"What was done since {self._in_step_at:%H:%M} UTC is lost if this machine restarts now"
            told.append(f"Runs are not being copied to {self.place.folder}: {sentence(found)} {sentence(lost)}")
        return told

    def _loop(self) -> None:
        while True:
            is_last = self._closing.is_set()
            self.look(everything=is_last)
            if is_last:
                return
            self._wake.wait(_AFTER_PROBLEM_S if self._problem else _LOOK_S)
            self._wake.clear()

    def look(self, everything: bool = False) -> None:
        """One look at all of the home: copy what is due, or with `everything` whatever changed at all; remove what is gone."""
        self._looking_since = self._clock()
        try:
            self._problem = self._looked(everything)
        except Exception as error:  # noqa: BLE001  # a bug here must not leave runs uncopied in silence
            traceback.print_exc(file=sys.stderr)
            self._problem = f"there was an unexpected problem ({type(error).__name__})"
        if not self._problem:
            self._in_step_at = datetime.now(UTC)
        self._looking_since = None

    def _looked(self, everything: bool) -> str:
        """The first problem that was met; "" if there was none. What can be copied in spite of it is copied."""
        if not self.place.is_connected:
            return f"{self.place.mount} is not connected any more"
        if not self.store.root.is_dir() and any(name != _UPLOADS for name in self._kept):
            return f"{self.store.root} is not there any more"
        folders = [*(f"runs/{run_id}" for run_id in self.store.ids()), _UPLOADS]
        gone = set(self._kept) - set(folders)
        acts = [*(partial(self._keep, name, everything) for name in folders), *(partial(self._remove, name) for name in gone)]
        problem = ""
        for act in acts:
            try:
                act()
            except OSError as error:
                problem = problem or (error.strerror or type(error).__name__).lower()
        return problem

    def remember(self, name: str, files: Mapping[str, Look]) -> None:
        """These files of a folder lie in the place as they lie here: they have just been restored from there."""
        self._kept[name] = dict(files)

    def _keep(self, name: str, everything: bool) -> None:
        folder = self.store.home / name
        changed_at = _changed_at(folder)
        if self._settled.get(name) == changed_at:
            return
        files, kept = files_of(folder), self._known(name)
        if not folder.is_dir():  # removed, which the next look sees, or its disk is gone: nobody took its files out one by one
            return
        changed = [path for path, look in files.items() if kept.get(path) != look]
        gone = [path for path in kept if path not in files]
        only_grown = not gone and set(changed) <= _GROWING
        if only_grown and not everything and self._clock() - self._kept_at.get(name, -_GROWING_S) < _GROWING_S:
            return
        has_vanished = False
        for path in changed:
            source = folder / path
            try:
                copy_file(source, self.place.folder / name / path)
            except FileNotFoundError:
                if source.exists():
                    raise
                has_vanished = True  # meanwhile: the next look sees that
                continue
            kept[path] = files[path]
        superfluous = gone if name == _UPLOADS else [path for path in files_of(self.place.folder / name) if path not in files]
        if has_vanished:  # of the newer checkpoints none may have arrived whole
            superfluous = _without_sealed(superfluous)
        for path in reversed(superfluous):  # a checkpoint's seal before its files
            (self.place.folder / name / path).unlink(missing_ok=True)
            kept.pop(path, None)
        _remove_empty_folders(self.place.folder / name, superfluous)
        self._kept_at[name] = self._clock()
        if not changed and name != _UPLOADS and _is_at_rest(Run(folder)):
            self._settled[name] = changed_at

    def _known(self, name: str) -> dict[str, Look]:
        """What of a folder lies in the place. Of a run that an earlier app copied it is looked up: what is not here was let go here."""
        if name not in self._kept:
            there = {} if name == _UPLOADS else files_of(self.place.folder / name)
            self._kept[name] = dict.fromkeys(there, (-1, -1))
        return self._kept[name]

    def _remove(self, name: str) -> None:
        """The settings go first: without them what is left is no run."""
        folder = self.place.folder / name
        (folder / "config.json").unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        self._kept.pop(name)
        self._kept_at.pop(name, None)
        self._settled.pop(name, None)


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:  # it is being removed
        return 0


def _without_sealed(paths: list[str]) -> list[str]:
    """All but the files of whole checkpoints."""
    sealed = {parent for path in map(PurePosixPath, paths) if path.name == SEAL and (parent := path.parent).parts[0] == CHECKPOINTS}
    return [path for path in paths if PurePosixPath(path).parent not in sealed]


def _is_at_rest(run: Run) -> bool:
    return run.owed_since is None and not run.is_claimed


def _remove_empty_folders(folder: Path, gone: list[str]) -> None:
    """Of checkpoints that were let go, and what a crash left in them."""
    for parent in {(folder / path).parent for path in gone} - {folder}:
        with suppress(OSError):  # it is not empty
            for left in parent.glob(f"*{PART}"):
                left.unlink()
            parent.rmdir()
