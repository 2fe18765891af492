"""How a run tells what it is doing, and how it is told to stop."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Protocol

from safetensors import SafetensorError

from lorasae.errors import LabError
from lorasae.store.run_folder import Run
from lorasae.store.run_records import State, Status

STATUS_EVERY_S = 0.5


class Listener(Protocol):
    """Whoever watches a run from inside its process, e.g. the terminal's progress bar."""

    def phase(self, name: str, message: str) -> None: ...

    def row(self, row: dict[str, Any], n_steps: int) -> None: ...


class Nobody:
    """A listener that does not."""

    def phase(self, name: str, message: str) -> None: ...

    def row(self, row: dict[str, Any], n_steps: int) -> None: ...


class Stopped(Exception):
    """The run was asked to stop and has saved itself. As a sentence it says how to go on from a terminal; `told` does without."""

    def __init__(self, run: Run, told: str) -> None:
        self.told = told
        super().__init__(f"{told}. Go on with: python -m lorasae adapt --resume {run.folder}")


class Report:
    """Tells status.json, metrics.jsonl, the log and the listener what happens; the folder is never more than half a second behind."""

    def __init__(self, run: Run, listener: Listener, n_steps: int) -> None:
        self.run, self.listener = run, listener
        self.status = Status(state="running", n_steps=n_steps, pid=os.getpid())
        self.written_at = 0.0

    def phase(self, name: str, message: str) -> None:
        self.status = replace(self.status, phase=name, message=message, fraction=None)
        self._write()
        self.run.append_log(f"{name}: {message}")
        self.listener.phase(name, message)

    def taken_up(self, step: int) -> None:
        """The run goes on from a checkpoint."""
        self.status = replace(self.status, step=step, resumed_from=step)
        self.phase("loading", f"taken up at step {step}")

    def progress(self, fraction: float, eta_s: float | None) -> None:
        """How far the phase under way has come."""
        self.status = replace(self.status, fraction=fraction, eta_s=eta_s)
        self._write_if_due()

    def arriving(self, message: str, fraction: float, eta_s: float | None) -> None:
        """How far a download is. The first word of it is a phase of its own."""
        if self.status.phase != "downloading":
            self.phase("downloading", message)
        self.status = replace(self.status, message=message)
        self.progress(fraction, eta_s)

    def row(self, row: dict[str, Any], eta_s: float | None = None, step_s: float | None = None) -> None:
        self.run.append_metrics(row)
        n_steps = self.status.n_steps
        self.status = replace(
            self.status, step=row["step"], eta_s=eta_s, step_s=step_s, fraction=row["step"] / n_steps if n_steps else None
        )
        self._write_if_due()
        self.listener.row({**row, "eta_s": eta_s}, n_steps)

    def remark(self, line: str) -> None:
        """Something worth knowing that changes nothing."""
        self.run.append_log(line)

    def ended(self, state: State, message: str) -> None:
        self.status = replace(self.status, state=state, phase="done", message=message, eta_s=None, pid=None, fraction=None)
        self._write()
        self.run.append_log(f"{state}{': ' if message else ''}{message}")

    @property
    def outcome(self) -> State:
        """How a run ends that comes to its end: with all its steps, or with as many as it was left."""
        return "succeeded" if self.status.step >= self.status.n_steps else "stopped"

    def _write_if_due(self) -> None:
        if time.monotonic() - self.written_at > STATUS_EVERY_S:
            self._write()

    def _write(self) -> None:
        self.run.write_status(self.status)
        self.written_at = time.monotonic()


@contextmanager
def ending_told(run: Run, report: Report) -> Iterator[None]:
    """However the block ends, status.json says so; a full disk becomes a sentence, whoever met it first.

    A wish is forgotten once it is fulfilled, not before: a run that is killed in between fulfils it when it goes on.
    """
    try:
        yield
        kept = f"Stopped after step {report.status.step} of {report.status.n_steps}; the adapter so far is measured and saved"
        report.ended(report.outcome, kept if report.outcome == "stopped" else "")
        run.forget_wish()
    except Stopped as stopped:
        report.ended("interrupted", stopped.told)
        raise
    except (OSError, SafetensorError) as error:
        if not _is_disk_full(error):
            report.ended("failed", f"{type(error).__name__}: {error}")
            raise
        with suppress(OSError):
            report.ended("interrupted", "The disk is full")
        raise LabError(
            f"The run {run.run_id} had to be written to {run.folder}",
            "The disk is full; every finished checkpoint is kept",
            f"Free some space, then go on with: python -m lorasae adapt --resume {run.folder}",
        ) from None
    except BaseException as error:
        report.ended("failed", str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}")
        raise


def _is_disk_full(error: Exception) -> bool:
    """safetensors reports the operating system's error 28 in words only."""
    return getattr(error, "errno", None) == errno.ENOSPC or f"os error {errno.ENOSPC}" in str(error)


@dataclass
class Signals:
    """Whether the process was told to end."""

    noted: bool = False


@dataclass(frozen=True)
class StopRequest:
    """Whether somebody asked the run to end, and how. A signal means: at once, it will go on later, whatever was wished."""

    run: Run
    signals: Signals

    @property
    def signalled(self) -> bool:
        """Whether all runs of this process are to end."""
        return self.signals.noted

    @property
    def interrupt(self) -> bool:
        """Save a checkpoint and go."""
        return self.signalled or self.run.stop_wish == "pause"

    @property
    def keep(self) -> bool:
        """Train no further; measure and save what there is."""
        return not self.signalled and self.run.stop_wish == "keep"

    def heed(self, message: str, *, trained: bool) -> None:
        """Between two pieces of work: end if that was asked for. Before the first step there is nothing to keep, and `keep` ends too.

        Raises:
            Stopped: If the run is to end here.
        """
        if not self.signalled and (wish := self.run.stop_wish) and (wish == "pause" or not trained):
            self.run.forget_wish()  # fulfilled here
            raise Stopped(self.run, message)
        if self.signalled:
            raise Stopped(self.run, message)


@contextmanager
def signals_noted() -> Iterator[Signals]:
    """SIGTERM and SIGINT ask for a stop after the step under way; a second one ends the process at once."""
    signals = Signals()
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _frame: FrameType | None) -> None:
        signals.noted = True
        signal.signal(number, before[signal.Signals(number)])

    for each in before:
        signal.signal(each, note)
    try:
        yield signals
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
