"""The loop behind the jobs: starts a process for whoever is next, watches it, and decides what follows when it ends.

A process that ends with a word (its status says so) is believed. One that ends without, or makes no progress, is started again from its
newest checkpoint, three tries in all. A process that outlives the app is found again by its claim on the run.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from lorasae.errors import LabError
from lorasae.jobs.admission import Limits
from lorasae.jobs.found_runs import FoundRuns
from lorasae.jobs.hub_tokens import HubTokens
from lorasae.jobs.queue_order import order
from lorasae.jobs.signs_of_life import patience, sign_of_life
from lorasae.jobs.workers import FoundWorker, Worker
from lorasae.store.claims import Claim
from lorasae.store.run_folder import Run
from lorasae.store.run_index import Row, RunIndex
from lorasae.store.run_records import Status
from lorasae.store.runs import RunStore

TRIES = 3
RESTARTED = "The lab was restarted; the run goes on"
_TICK_S = 0.25
_AFTER_PROBLEM_S = 2.0
_LEAVE_S = 10.0  # between asking a hanging process to end and ending it
_CLOSE_S = 8.0  # a Space gives ten seconds
_NEEDS_THE_HUB = ("loading", "downloading", "reading")  # phases
_ENDED_WITH_A_WORD = ("succeeded", "stopped", "failed")


class Launcher(Protocol):
    """Whatever starts a run's process; the claim is handed on to it."""

    def __call__(self, run: Run, claim: Claim, owner: str, device: str, token: str | None, most_bytes: int | None) -> Worker: ...


@dataclass
class AtWork:
    """A process and what was last seen of it."""

    run: Run
    worker: Worker
    device: str
    sign: tuple[int, ...]  # changes as long as the process shows life
    since: float  # when the sign last changed
    asked_at: float | None = None  # when it was asked to end because it hangs


class Scheduler:
    """One per app. Everything it does to a run, it does while holding the jobs' lock."""

    def __init__(
        self,
        store: RunStore,
        index: RunIndex,
        lock: threading.RLock,
        limits: Limits,
        launcher: Launcher,
        devices: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.index, self.limits, self.launcher, self.devices = store, index, limits, launcher, devices
        self._lock, self._clock = lock, clock
        self._at_work: dict[str, AtWork] = {}
        self.tokens = HubTokens()
        self._found = FoundRuns(store, index)
        self._problem = ""
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)

    def start(self) -> None:
        """Take up what was left, then serve the queue."""
        with self._lock:
            self.take_up()
        self._thread.start()

    def wake(self) -> None:
        """Something changed: look at once."""
        self._wake.set()

    def attends(self, run_id: str) -> bool:
        """Whether a run's process is watched; one that has just ended is, until it is decided what follows."""
        with self._lock:
            return run_id in self._at_work

    def problems(self) -> list[str]:
        """What keeps the queue from being served."""
        return [self._problem] if self._problem else []

    def close(self) -> None:
        """Ask every process to save and end; whatever is still at it after some seconds is found again by the next app."""
        self._closing.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)
        with self._lock:
            for run_id, each in self._at_work.items():
                with suppress(LabError):
                    self.index.change(run_id, again=True, remark=RESTARTED)
                each.worker.ask_to_end()
            deadline = time.monotonic() + _CLOSE_S
            while self._at_work and time.monotonic() < deadline:
                for each in list(self._at_work.values()):
                    if each.worker.ended():
                        del self._at_work[each.run.run_id]
                        with suppress(LabError, OSError):
                            self._ended(each)
                time.sleep(0.02)
            self._at_work.clear()

    def discover(self) -> None:
        """Take runs into the index that something else made."""
        with self._lock:
            self._take_in()

    def take_up(self) -> None:
        """What an earlier app left: its processes adopted, its unfinished runs queued, its forgotten ones forgotten."""
        self.store.sweep()
        self._take_in()
        for row, run in self._found.agreed():
            self._take_up_job(row, run)

    def _take_in(self) -> None:
        for row, run in self._found.take_in():
            if row.job and row.attempt and not run.is_claimed:
                self._take_up_found(row, run)

    def _take_up_found(self, row: Row, run: Run) -> None:
        """A run for which an app had started a process whose index is lost, most often with the whole disk of a Space."""
        told = run.told
        if told.state in _ENDED_WITH_A_WORD:
            self._settle(run)
        elif told.state == "interrupted" or (
            _came_further(told) and run.saved_step > (told.resumed_from or 0)
        ):  # the rest went with the disk
            self._queue_again(row, run, RESTARTED, counts=False)
        else:
            self._try_again(row, run, "together with the lab", RESTARTED)

    def _take_up_job(self, row: Row, run: Run) -> None:
        if run.owed_since is None:
            if row.job:
                self.index.change(row.run_id, job="")
        elif run.is_claimed:
            self.index.change(row.run_id, job="running")
            self._watch(run, FoundWorker(run, row.pid), row.device)
        elif row.job == "running":
            if run.told.state in _ENDED_WITH_A_WORD:
                self._settle(run)
            elif _came_further(run.told):
                self._queue_again(row, run, RESTARTED, counts=False)
            else:  # counts as a try, so that a run that brings the whole machine down is not tried for ever
                self._try_again(row, run, "together with the lab", RESTARTED)
        elif not row.job:
            self.index.change(row.run_id, job="queued", place=self.index.next_place())

    # The loop

    def _loop(self) -> None:
        while not self._closing.is_set():
            pause = _TICK_S
            try:
                self.tick()
                self._problem = ""
            except (LabError, OSError) as error:
                self._problem, pause = str(error), _AFTER_PROBLEM_S
            except Exception as error:  # noqa: BLE001  # a bug here must not leave the queue unserved in silence
                traceback.print_exc(file=sys.stderr)
                self._problem, pause = f"The queue met an unexpected problem: {type(error).__name__}.", _AFTER_PROBLEM_S
            self._wake.wait(pause)
            self._wake.clear()

    def tick(self) -> None:
        """One look at everything."""
        with self._lock:
            self._take_in()
            for each in list(self._at_work.values()):
                self._attend(each)
            for device in self._free_devices():
                self._start_next(device)

    def _free_devices(self) -> list[str]:
        busy = [each.device for each in self._at_work.values()]
        free = list(self.devices)
        for device in busy:
            if device in free:
                free.remove(device)
            elif free:  # a process of an app that saw other devices
                free.pop()
        return free

    def _start_next(self, device: str) -> None:
        running = [row.owner for row in self.index.with_job("running")]
        for row in order(self.index.with_job("queued"), self.index.turns()):
            if running.count(row.owner) < self.limits.of(row.owner).running and self._started(row, device):
                return

    def _started(self, row: Row, device: str) -> bool:
        """Start the run's process; False if it cannot be, and the next one may have the device."""
        try:
            run = self.store.open_id(row.run_id)
        except LabError:  # its folder was deleted by hand
            self.index.remove(row.run_id)
            self.tokens.forget(row.run_id)
            return False
        if run.is_claimed:  # somebody took it up in a terminal
            return False
        if run.told.state == "succeeded":  # and finished it there
            self._settle(run)
            return False
        with run.claim() as claim:
            before = run.told
            run.note_attempt(row.attempt + 1)
            run.write_status(_beginning(before))
            self.index.start(row.run_id, device)
            try:
                token, most_bytes = self.tokens.of(row.run_id), self.limits.fetch_bound(row.owner)
                worker = self.launcher(run, claim, row.owner, device, token, most_bytes)
            except OSError as error:
                self._fail(run, f"No process could be started for it: {error.strerror or error}")
                return False
        with suppress(LabError):
            self.index.change(row.run_id, pid=worker.pid)
        self._watch(run, worker, device)
        return True

    def _watch(self, run: Run, worker: Worker, device: str) -> None:
        self._at_work[run.run_id] = AtWork(run, worker, device, sign_of_life(run), self._clock())

    def _attend(self, each: AtWork) -> None:
        if each.worker.ended():
            self._ended(each)
            self._at_work.pop(each.run.run_id, None)
            return
        if each.run.told.phase not in _NEEDS_THE_HUB:
            self.tokens.forget(each.run.run_id)
        sign = sign_of_life(each.run)
        if sign != each.sign:
            each.sign, each.since = sign, self._clock()
        quiet = self._clock() - each.since
        if each.asked_at is None and quiet > patience(each.run.told):
            each.asked_at = self._clock()
            each.run.append_log(f"no progress for {quiet:.0f} s: ended, to be taken up again")
            each.worker.ask_to_end()
        elif each.asked_at is not None and self._clock() - each.asked_at > _LEAVE_S:
            each.worker.kill()

    # What follows when a process ended

    def _ended(self, each: AtWork) -> None:
        run, told = each.run, each.run.told
        row = self.index.row(run.run_id)
        if row is None or not run.folder.is_dir():
            self.index.remove(run.run_id)
            self.tokens.forget(run.run_id)
        elif run.owed_since is None or told.state in _ENDED_WITH_A_WORD:
            self._settle(run)
        elif each.asked_at is not None:
            self._try_again(row, run, "It made no progress")
        elif row.again:
            self._queue_again(row, run, RESTARTED, counts=False)
        elif told.state == "interrupted":
            self._settle(run)
        else:
            self._try_again(row, run, each.worker.why())

    def _try_again(self, row: Row, run: Run, why: str, remark: str = "") -> None:
        """Its process ended without a word: another try, if there is one left."""
        step = run.told.step
        run.append_log(f"interrupted at step {step}: {why or 'the process ended without a word'}")
        if row.attempt < TRIES:
            self._queue_again(row, run, remark or f"Interrupted at step {step}", counts=True)
            return
        reason = f"Its process ended {TRIES} times before it was done, last at step {step}"
        said = f" ({why})" if why else ""
        self._fail(run, f"{reason}{said}. What was saved is kept. Look into its log, or resume it with more memory free.")

    def _queue_again(self, row: Row, run: Run, remark: str, *, counts: bool) -> None:
        """Back into the queue, at its old place."""
        attempt = row.attempt if counts else max(0, row.attempt - 1)
        run.note_attempt(attempt)
        self.index.change(row.run_id, job="queued", again=False, pid=None, remark=remark, attempt=attempt)

    def _settle(self, run: Run) -> None:
        """The lab owes this run nothing any more."""
        run.settle()
        self.tokens.forget(run.run_id)
        self.index.change(run.run_id, job="", again=False, pid=None, remark="")

    def _fail(self, run: Run, message: str) -> None:
        run.write_status(replace(run.told, state="failed", phase="done", message=message, pid=None, eta_s=None, fraction=None))
        self._settle(run)

    def kill(self, run: Run) -> None:
        """End whatever is at work on a run, at once.

        Raises:
            LabError: If it does not end.
        """
        each = self._at_work.get(run.run_id)
        row = self.index.row(run.run_id)
        worker = each.worker if each else FoundWorker(run, row.pid if row else None)
        if not worker.ended():
            worker.kill()
        if run.is_claimed:
            raise LabError("The run was to be ended", f"Its process {worker.pid} does not end", "End that process by hand, then try again")
        self._at_work.pop(run.run_id, None)


def _beginning(before: Status) -> Status:
    """The status of a run whose process is being started. Its pid is known once the process says it."""
    return Status(state="running", phase="loading", step=before.step, n_steps=before.n_steps, message="starting")


def _came_further(told: Status) -> bool:
    return told.phase != "loading" and told.step > (told.resumed_from or 0)  # while it loads, the step may be the one reached before
