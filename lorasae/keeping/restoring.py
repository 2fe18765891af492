"""Runs and uploads brought back from where they were kept, into a home whose disk is new. Each arrives whole or not at all."""

import json
import shutil
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lorasae.errors import sentence
from lorasae.keeping.copying import copy_file, files_of
from lorasae.keeping.keeper import Keeper
from lorasae.keeping.place import Place
from lorasae.store.durable import replace_file
from lorasae.store.runs import RunStore

_SILENT_S = 60.0  # a place from which no file has come for so long is not waited for
_MARK = "kept.json"  # in a home that has everything of its place, or is ahead of it


class _GivenUp(Exception):
    """Nobody waits any more for what is being brought."""


class _Patience:
    """Between who brings files and who waits for them: how long ago the last one came, and whether there still is a point."""

    def __init__(self) -> None:
        self.came_at, self.given_up = time.monotonic(), threading.Event()

    def came(self) -> None:
        """A file is here.

        Raises:
            _GivenUp: If the lab has started without it: its home is no longer ours to fill.
        """
        if self.given_up.is_set():
            raise _GivenUp
        self.came_at = time.monotonic()


def restored(store: RunStore, place: Place) -> Keeper:
    """The keeper of a home, into which everything was brought that its place had kept. A home that has been there before is ahead of its
    place, and gets nothing: what it lacks was deleted. What cannot be brought now is tried again at the next start; a place that hangs is
    not waited for: the lab starts without it, and says so."""
    if _has_all_of(store.home, place):
        return Keeper(store, place)
    patience, found = _Patience(), list[Keeper]()

    def bring() -> None:
        with suppress(_GivenUp):
            found.append(_brought(store, place, patience))

    bringing = threading.Thread(target=bring, name="restoring", daemon=True)
    bringing.start()
    while bringing.is_alive():
        bringing.join(0.05)
        if time.monotonic() - patience.came_at > _SILENT_S:
            patience.given_up.set()
            break
    if found:
        return found[0]
    silent = _with_problem(Keeper(store, place), f"it has not answered for {_SILENT_S:.0f} s")
    print(silent.not_restored, file=sys.stderr, flush=True)
    return silent


def _brought(store: RunStore, place: Place, patience: _Patience) -> Keeper:
    keeper = Keeper(store, place)
    try:
        n_broken = sum(not _bring_run(store, keeper, folder, patience) for folder in _runs_in(place))
        _bring_uploads(store, keeper, place, patience)
    except OSError as error:
        return _with_problem(keeper, f"it could not be read ({(error.strerror or type(error).__name__).lower()})")
    if n_broken:
        return _with_problem(keeper, f"{n_broken} could not be read whole")
    patience.came()
    store.home.mkdir(parents=True, exist_ok=True)
    replace_file(store.home / _MARK, json.dumps({"place": str(place.folder), "since": datetime.now(UTC).isoformat()}).encode())
    return keeper


def _has_all_of(home: Path, place: Place) -> bool:
    try:
        return json.loads((home / _MARK).read_text(encoding="utf-8"))["place"] == str(place.folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _runs_in(place: Place) -> list[Path]:
    root = place.folder / "runs"
    return sorted(path.parent for path in root.glob("*/config.json")) if root.is_dir() else []


def _bring_run(store: RunStore, keeper: Keeper, kept: Path, patience: _Patience) -> bool:
    """Whether the run is here now."""
    patience.came()
    folder, beside = store.root / kept.name, store.root / f".new-{kept.name}"
    if folder.exists():
        return True
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for path in files_of(kept):
            copy_file(kept / path, beside / path)
            patience.came()
    except FileNotFoundError:  # it is being removed there, by an app that is about to end
        shutil.rmtree(beside, ignore_errors=True)
        return False
    (beside / "lock").touch()  # whoever was at work on it is not on this machine, whatever pid it had
    beside.rename(folder)
    keeper.remember(f"runs/{kept.name}", files_of(folder))
    return True


def _bring_uploads(store: RunStore, keeper: Keeper, place: Place, patience: _Patience) -> None:
    here, there = store.home / "uploads", place.folder / "uploads"
    known = files_of(here)
    for path in files_of(there):
        if path not in known:
            patience.came()
            copy_file(there / path, here / path)
    brought = files_of(here)
    keeper.remember("uploads", {path: brought[path] for path in files_of(there) if path in brought})


def _with_problem(keeper: Keeper, found: str) -> Keeper:
    keeper.not_restored = sentence(f"Runs kept in {keeper.place.folder} are missing here: {found}. Restart to try again")
    return keeper
