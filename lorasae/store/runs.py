"""The store of runs: their folders made, found, listed and removed. What lies in one is known in run_folder.py."""

import os
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from lorasae.config import FORMAT, RunConfig
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER
from lorasae.store.durable import sync_folder, write_json
from lorasae.store.recorded_versions import versions
from lorasae.store.run_folder import EXAMPLE_ID, RUN_ID, Run, example, now
from lorasae.store.run_records import About, Pins, Status, checked_name


class RunStore:
    """The folder in which runs lie."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "runs"
        self.opening = threading.Lock()  # published adapters come one at a time, so that limits on them hold (publishing/reopen.py)

    def create(
        self,
        config: RunConfig,
        owner: str = LOCAL_OWNER,
        name: str | None = None,
        pins: Pins | None = None,
        *,
        submission: str = "",
        owed: bool = False,
        fill: Callable[[Run], None] = lambda _: None,
    ) -> Run:
        """A new run folder, named by time and chance: 64 bits of it, because whoever knows a run's link has found it, not guessed it.

        The folder is made beside its place and renamed, so that it is whole or not there; `fill` puts into it what else it holds.
        """
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(8)}"
        folder, beside = self.root / run_id, self.root / f".new-{run_id}"
        about = About(owner, checked_name(config.name if name is None else name), False, now(), submission=submission)
        described = {"format": FORMAT, "run_id": run_id, "created": about.created, "config": config.model_dump(mode="json")}
        try:
            beside.mkdir(parents=True)
            write_json(beside / "config.json", {**described, "versions": versions()})
            write_json(beside / "about.json", asdict(about))
            run = Run(beside, run_id)
            run.write_status(Status(n_steps=config.n_steps))
            if pins is not None:
                run.write_pins(pins)
            if owed:
                run.owe()
            fill(run)
            beside.rename(folder)
            sync_folder(self.root)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            remedy = "Free some space, or set LORASAE_HOME to a folder that can be written"
            raise LabError(f"A run was to be kept in {folder}", f"The folder cannot be made: {error.strerror}", remedy) from None
        except BaseException:  # whatever it was: nothing half made stays behind
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return Run(folder)

    def open(self, name: str) -> Run:
        """A run by its id or by its folder."""
        folder = Path(name) if Path(name).is_dir() else self.root / name
        if (folder / "config.json").exists():
            return Run(folder)
        if name == EXAMPLE_ID and (shipped := example()) is not None:
            return shipped
        known = sorted(path.parent.name for path in self.root.glob("*/checkpoints"))[-3:]
        raise LabError(f"The run {name} was asked for", "There is no such run", f"The latest runs are: {', '.join(known) or 'none'}")

    def open_id(self, run_id: str) -> Run:
        """A run by its id alone, as a link names it; what is no id is never looked for on the disk.

        Raises:
            LabError: If there is no such run.
        """
        run = example() if run_id == EXAMPLE_ID else self._own(run_id)
        if run is None:
            raise LabError("A run was asked for", "There is no run of that id", "Choose one from the list of runs")
        return run

    def _own(self, run_id: str) -> Run | None:
        """The run of that id that lies here."""
        folder = self.root / run_id if RUN_ID.fullmatch(run_id) else None
        return Run(folder) if folder is not None and (folder / "config.json").is_file() else None

    def ids(self) -> list[str]:
        """The names of all run folders, oldest first, without a look into them."""
        return sorted(entry.name for entry in os.scandir(self.root) if RUN_ID.fullmatch(entry.name)) if self.root.is_dir() else []

    def all(self) -> list[Run]:
        """Every run in the home, oldest first; the example is not among them."""
        return [Run(self.root / run_id) for run_id in self.ids() if (self.root / run_id / "config.json").is_file()]

    def remove(self, run: Run) -> None:
        """Delete a run's folder, and what was worked out from it. It is renamed first, so that no half of a run is ever found.

        Raises:
            LabError: If the folder cannot be moved.
        """
        doomed = self.root / f".gone-{run.folder.name}"
        try:
            run.folder.rename(doomed)
        except FileNotFoundError:
            pass
        except OSError as error:
            found = f"Its folder cannot be moved: {error.strerror}"
            raise LabError(f"The run {run.run_id} was to be deleted", found, f"Delete {run.folder} by hand") from None
        shutil.rmtree(doomed, ignore_errors=True)
        for derived in self.home.glob(f"cache/*/{run.folder.name}"):
            shutil.rmtree(derived, ignore_errors=True)

    def sweep(self) -> None:
        """Clear away what a crash left of creating and of deleting."""
        for left in (*self.root.glob(".new-*"), *self.root.glob(".gone-*")):
            if left.name.startswith(".gone-") or datetime.now(UTC).timestamp() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)
