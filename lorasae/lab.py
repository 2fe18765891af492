"""The lab as a whole: its settings, its runs, its jobs and its inspector, opened together and closed together."""

import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from lorasae.errors import LabError
from lorasae.inspection.inspector import Inspector
from lorasae.jobs.jobs import Jobs, open_jobs
from lorasae.keeping.keeper import Keeper
from lorasae.keeping.restoring import restored
from lorasae.planning.parts_desk import PartsDesk
from lorasae.publishing.desk import PublishingDesk
from lorasae.settings import LabSettings
from lorasae.store.claims import Claim, claim
from lorasae.store.run_index import RunIndex
from lorasae.store.runs import RunStore


@dataclass
class Lab:
    """What every page and every route is given. Inside `with` its queue is served."""

    settings: LabSettings
    store: RunStore
    index: RunIndex
    jobs: Jobs
    inspector: Inspector
    publishing: PublishingDesk = field(default_factory=PublishingDesk)
    parts: PartsDesk = field(default_factory=PartsDesk)
    home_claim: Claim | None = field(default=None, repr=False)
    keeper: Keeper | None = None  # where runs are kept elsewhere too

    def problems(self) -> list[str]:
        """What keeps the lab from doing its work, in sentences; empty when all is well."""
        return self.jobs.problems() + (self.keeper.problems() if self.keeper else [])

    def __enter__(self) -> "Lab":
        self.jobs.start()
        if self.keeper is not None:
            self.keeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.jobs.close()
        if self.keeper is not None:  # at once: who ends us may give us no more than seconds
            self.keeper.close()
        self.inspector.close()
        self.index.close()
        if self.home_claim is not None:
            self.home_claim.close()


def open_lab(settings: LabSettings) -> Lab:
    """Everything in place, nothing started.

    Raises:
        LabError: If the home cannot be written, or another copy of the app uses it.
    """
    store = RunStore(settings.home)
    home_claim = _home_claimed(settings.home)
    keeper = restored(store, settings.keep) if settings.keep else None
    try:
        jobs = open_jobs(store, settings.operators)
    except LabError:
        home_claim.close()
        raise
    if jobs.index.damaged:
        print(f"The index of runs was damaged; it is built anew from the runs, and kept as {jobs.index.damaged}", file=sys.stderr)
    return Lab(settings, store, jobs.index, jobs, Inspector(settings.home), home_claim=home_claim, keeper=keeper)


def _home_claimed(home: Path) -> Claim:
    """One app per home: two would start every run twice."""
    path = home / "lab.lock"
    asked = f"The lab in {home} was to be opened"
    try:
        home.mkdir(parents=True, exist_ok=True)
        taken = claim(path)
        if taken is None:
            found = f"Another copy of it is running ({path.read_text(encoding='utf-8').strip() or 'just starting'})"
            raise LabError(asked, found, "Use that one, or end it, or set LORASAE_HOME to another folder")
        path.write_text(f"pid {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n", encoding="utf-8")
    except OSError as error:
        remedy = "Set LORASAE_HOME to a folder on a disk of this machine that can be written"
        raise LabError(asked, f"The folder cannot be used: {error.strerror}", remedy) from None
    return taken
