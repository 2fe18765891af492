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
from lorasae.runs import Run, State, Status

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
    """The run was asked to stop and has saved itself."""


class Report:
    """Tells status.json, metrics.jsonl and the listener what happens; the folder is never more than half a second behind."""

    def __init__(self, run: Run, listener: Listener, n_steps: int) -> None:
        self.run, self.listener = run, listener
        self.status = Status(state="running", n_steps=n_steps, pid=os.getpid())
        self.written_at = 0.0

    def phase(self, name: str, message: str) -> None:
        self.status = replace(self.status, phase=name, message=message)
        self._write()
        self.listener.phase(name, message)

    def row(self, row: dict[str, Any], eta_s: float | None = None) -> None:
        self.run.append_metrics(row)
        self.status = replace(self.status, step=row["step"], eta_s=eta_s)
        if time.monotonic() - self.written_at > STATUS_EVERY_S:
            self._write()
        self.listener.row({**row, "eta_s": eta_s}, self.status.n_steps)

    def ended(self, state: State, message: str) -> None:
        self.status = replace(self.status, state=state, phase="done", message=message, eta_s=None, pid=None)
        self._write()

    def _write(self) -> None:
        self.run.write_status(self.status)
        self.written_at = time.monotonic()


@contextmanager
def ending_told(run: Run, report: Report) -> Iterator[None]:
    """However the block ends, status.json says so; a full disk becomes a sentence, whoever met it first."""
    try:
        yield
        report.ended("succeeded", "")
    except Stopped as stopped:
        report.ended("interrupted", str(stopped))
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
class StopRequest:
    """Whether somebody asked the run to stop."""

    requested: bool = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """SIGTERM and SIGINT ask for a stop after the step under way; a second one ends the process at once."""
    request = StopRequest()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {each: signal.getsignal(each) for each in signals}

    def note(number: int, _frame: FrameType | None) -> None:
        request.requested = True
        signal.signal(number, before[signal.Signals(number)])

    for each in signals:
        signal.signal(each, note)
    try:
        yield request
    finally:
        for each in signals:
            signal.signal(each, before[each])
