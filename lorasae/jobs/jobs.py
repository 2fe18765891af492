"""Jobs: runs that the lab does for its owners. Submitted here, stopped here, and what they are doing told here.

The folder is the truth: a file `queued` in it says that the lab owes the run work, so that neither a lost index nor a killed app loses a
run. The index keeps the order. Who is at work on a run is known by the claim on its folder alone (store/claims.py). The loop that starts
and watches processes is scheduler.py; both hold one lock, so that a run is in one state at a time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.jobs.admission import Limits, check_admissible, limits_here, refuse_where_nothing_runs
from lorasae.jobs.queue_order import order
from lorasae.jobs.scheduler import TRIES, Launcher, Scheduler
from lorasae.jobs.workers import devices as devices_here
from lorasae.jobs.workers import start_worker
from lorasae.planning.hub_permission import refuse_closed
from lorasae.sources.hub_access import HubToken
from lorasae.store.run_folder import Run
from lorasae.store.run_index import Row, RunIndex
from lorasae.store.run_records import Pins, Status
from lorasae.store.runs import RunStore
from lorasae.store.source_record import source_changed


@dataclass(frozen=True)
class JobView:
    """What a run is doing, for whoever watches it."""

    state: str  # a run's state, or queued, or stopping
    position: int | None  # jobs that come before this one, those at work included; None when it does not wait
    phase: str
    step: int
    n_steps: int
    eta_s: float | None
    message: str
    attempt: int
    updated: str
    fraction: float | None = None  # of the phase under way


class Jobs:
    """Every action on a run that the lab does. Who may act is the caller's question; limits are kept here."""

    def __init__(
        self,
        store: RunStore,
        index: RunIndex,
        limits: Limits | None = None,
        *,
        launcher: Launcher = start_worker,
        devices: tuple[str, ...] = ("",),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.index, self.limits = store, index, limits or Limits()
        self._lock = threading.RLock()
        self.scheduler = Scheduler(store, index, self._lock, self.limits, launcher, devices, clock)

    def start(self) -> None:
        """Take up what was left: find new folders, adopt processes at work, queue what is owed; then serve the queue."""
        self.scheduler.start()

    def close(self) -> None:
        """End in good order: processes save and go, and their runs are queued for the next start."""
        self.scheduler.close()

    def submit(
        self, owner: str, config: RunConfig, submission: str, name: str = "", pins: Pins | None = None, hub_token: HubToken = False
    ) -> Run:
        """A new run, queued. The same owner's same submission token is the same run, however often it comes.

        Args:
            owner: Whose run it is.
            config: Its settings.
            submission: Made by the page; a click that comes twice carries the same one.
            name: As it is called in lists.
            pins: Features to record.
            hub_token: A visitor's own, for what is not open to everybody; the local owner's run finds the machine's login by itself.

        Raises:
            LabError: If the run cannot be taken on; nothing is left of it.
        """
        if (row := self.index.submitted(owner, submission)) is None:
            refuse_where_nothing_runs(self.limits)
            check_admissible(config, owner, self.store.home, self.limits)  # outside the lock: the registry takes a second to read
            refuse_closed(config, owner, hub_token)
        with self._lock:
            if (row := row or self.index.submitted(owner, submission)) is not None:
                return self.store.open_id(row.run_id)
            self._check_share(owner)
            run = self.store.create(config, owner, name or config.name, pins, submission=submission, owed=True)
            self.scheduler.tokens.keep(run.run_id, hub_token)
            try:
                self.index.add(run.run_id, run.about, "queued", self.index.next_place())
            except BaseException:
                self.scheduler.tokens.forget(run.run_id)
                self.store.remove(run)
                raise
        self.scheduler.wake()
        return run

    def stop(self, run_id: str) -> None:
        """End a run early and keep what it has: measured and saved like a finished one. One that waits is taken out of the queue."""
        with self._lock:
            run = self._own(run_id)
            if self._waits(run_id):
                self._take_out(run, "Taken out of the queue")
            elif run.is_claimed:
                run.wish_stop("keep")
            else:
                raise LabError("The run was to be stopped", f"It is not under way: it is {run.status.state}", "Nothing needs to be done")
        self.scheduler.wake()

    def pause(self, run_id: str) -> None:
        """Interrupt a run: it saves itself after the step under way, and can be resumed."""
        with self._lock:
            run = self._own(run_id)
            if self._waits(run_id):
                self._take_out(run, "Taken out of the queue")
            elif run.is_claimed:
                run.settle()
                run.wish_stop("pause")
        self.scheduler.wake()

    def discard(self, run_id: str) -> None:
        """End a run at once and delete its folder."""
        with self._lock:
            run = self._own(run_id)
            self.scheduler.kill(run)
            self._remove(run)
        self.scheduler.wake()

    def resume(self, owner: str, run_id: str, hub_token: HubToken = False) -> None:
        """Queue a run that ended before its last step, to go on from its newest checkpoint.

        Raises:
            LabError: If it cannot go on, or the owner has too many runs under way, or may not use what it names on the Hub.
        """
        refuse_closed(self._own(run_id).config, owner, hub_token)
        with self._lock:
            run = self._own(run_id)
            if reason := self.resume_blocked(run):
                raise LabError("The run was to go on", reason, "Duplicate it to start afresh with its settings")
            self._check_share(owner)
            run.forget_wish()
            run.owe()
            self.scheduler.tokens.keep(run_id, hub_token)
            self._row(run)
            self.index.change(run_id, job="queued", place=self.index.next_place(), attempt=0, again=False, remark="", hidden=False)
            run.write_about(hidden=False)
        self.scheduler.wake()

    def resume_blocked(self, run: Run) -> str | None:
        """Why a run cannot be resumed, as a sentence; None if it can."""
        try:
            if run.read_only:
                return "It is the example, which can only be looked at"
            if self._waits(run.run_id):
                return "It waits for its turn already"
            if run.is_claimed or self.scheduler.attends(run.run_id):
                return "It is under way"
            if run.status.state == "succeeded":
                return "It is finished"
            if self.limits.no_runs:
                return self.limits.no_runs
            return source_changed(run, run.config)
        except LabError as error:
            return error.found

    def delete(self, run_id: str, with_files: bool) -> None:
        """Take a run off the list, and with its files off the disk.

        Raises:
            LabError: If it is under way.
        """
        with self._lock:
            run = self._own(run_id)
            if run.is_claimed:
                raise LabError("The run was to be deleted", "It is under way", "Stop it first, or discard it")
            if self._waits(run_id):
                self._take_out(run, "Taken out of the queue")
            if with_files:
                self._remove(run)
            else:
                self._row(run)
                self.index.describe(run_id, run.write_about(hidden=True))

    def rename(self, run_id: str, name: str) -> None:
        """Call a run something else."""
        self._describe(run_id, name=name)

    def share(self, run_id: str, shared: bool) -> None:
        """Let everybody who has its link look at a run, or its owner alone."""
        self._describe(run_id, shared=bool(shared))

    def view(self, run_id: str) -> JobView:
        """What the run is doing."""
        run = self.store.open_id(run_id)
        row = self.index.row(run_id)  # before the status: what is started meanwhile has a status that says so
        status = run.status
        view = JobView(
            status.state, None, status.phase, status.step, status.n_steps, status.eta_s, status.message, 1, status.updated, status.fraction
        )
        if row is None:
            return replace(view, state=_with_wish(run, view.state))
        view = replace(view, attempt=max(1, row.attempt), message=_message(row, status))
        if row.job == "queued" and (position := self.position(run_id)) is not None:  # it may have started just now
            waits = {"state": "queued", "phase": "queued", "eta_s": None, "fraction": None, "message": row.remark}
            return replace(view, position=position, **waits)
        if row.job and status.state in ("created", "interrupted"):  # about to begin, or to be taken up again
            view = replace(view, state="running", phase="loading", eta_s=None, fraction=None)
        return replace(view, state=_with_wish(run, view.state))

    def position(self, run_id: str) -> int | None:
        """How many jobs come before a queued one, those at work included."""
        ahead = len(self.index.with_job("running"))
        waiting = order(self.index.with_job("queued"), self.index.turns())
        return next((ahead + place for place, row in enumerate(waiting) if row.run_id == run_id), None)

    def runs_of(self, owner: str) -> list[Row]:
        """An owner's runs, newest first; those that a terminal made in the same home are the local owner's."""
        self.scheduler.discover()
        return self.index.of_owner(owner)

    def problems(self) -> list[str]:
        """What keeps the queue from being served, in sentences."""
        return self.scheduler.problems()

    def _own(self, run_id: str) -> Run:
        """A run that can be acted on."""
        run = self.store.open_id(run_id)
        if run.read_only:
            raise LabError("The example run was to be changed", "It is there to be looked at", "Start a run of your own: duplicate it")
        return run

    def _row(self, run: Run) -> Row:
        """The run's row; made if the folder is new to the index."""
        return self.index.row(run.run_id) or self.index.add(run.run_id, run.about)

    def _waits(self, run_id: str) -> bool:
        row = self.index.row(run_id)
        return row is not None and row.job == "queued"

    def _take_out(self, run: Run, why: str) -> None:
        run.settle()
        status = run.status
        reached = f" at step {status.step}; nothing is lost" if status.step else " before it started"
        run.write_status(replace(status, state="interrupted", phase="done", message=why + reached, pid=None, eta_s=None))
        self.scheduler.tokens.forget(run.run_id)
        self.index.change(run.run_id, job="", remark="")

    def _remove(self, run: Run) -> None:
        self.store.remove(run)
        self.scheduler.tokens.forget(run.run_id)
        self.index.remove(run.run_id)

    def _describe(self, run_id: str, **changes: str | bool) -> None:
        with self._lock:
            run = self._own(run_id)
            self._row(run)
            self.index.describe(run_id, run.write_about(**changes))

    def _check_share(self, owner: str) -> None:
        share = self.limits.of(owner)
        under_way = len(self.index.with_job("queued", owner)) + len(self.index.with_job("running", owner))
        if under_way >= share.running + share.queued:
            raise LabError(
                "A further run was asked for",
                f"You have {under_way} under way; in this lab one person may have {share.running} running and {share.queued} waiting",
                "Wait until one is done, or discard one",
            )


def open_jobs(store: RunStore, operators: frozenset[str] = frozenset()) -> Jobs:
    """The jobs of a home, with its index; nothing is started.

    Raises:
        LabError: If the index cannot be opened.
    """
    return Jobs(store, RunIndex(store.home / "index.sqlite3"), limits_here(operators), devices=devices_here())


def _with_wish(run: Run, state: str) -> str:
    return "stopping" if state == "running" and run.stop_wish else state


def _message(row: Row, status: Status) -> str:
    """What the lab has to say about the run, else what the run says."""
    if row.attempt <= 1 or status.state != "running":
        return row.remark or status.message
    resumed = f", resumed from {status.resumed_from}" if status.resumed_from is not None else ""
    return f"{row.remark or status.message}{resumed} (try {row.attempt} of {TRIES})"
