"""The app's end of the inspection process: questions go in, answers come out; no tensors here.

The process starts on the first question, serves many at once in turns, ends itself when idle, and is started again when it died: whoever
waited is told in a sentence, the next question works.
"""

import itertools
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorasae.errors import LabError
from lorasae.jobs.workers import worker_environment

Receive = Callable[[dict[str, Any]], None]  # is given pieces, then one message with result or problem; called in another thread

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_ASKED = "Something was to be inspected"


class Unavailable(LabError):
    """The inspection process cannot answer now; the same question may work in a moment. The web floor answers 503."""


@dataclass(frozen=True)
class Limits:
    """What the inspection process may cost."""

    waiting: int = 32  # requests at once; further ones are turned away
    silent_s: float = 300.0  # a process that is asked and says nothing for so long is ended: the longest single step is opening a run
    idle_s: float = 900.0  # after so long without a question it ends itself


@dataclass
class _Asked:
    """A request under way."""

    line: str
    receive: Receive
    begun: bool = False
    sent_again: bool = False


@dataclass(eq=False)
class _Child:
    """A started process, and who waits for it."""

    process: "subprocess.Popen[bytes]"
    asked: dict[int, _Asked] = field(default_factory=dict)
    heard_at: float = 0.0
    stuck: bool = False


class Inspector:
    """Questions to the inspection process. Safe to use from many threads."""

    def __init__(self, home: Path, limits: Limits | None = None) -> None:
        self._home, self._limits = home, limits or Limits()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._child: _Child | None = None
        self._closed = False

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one question; waits for it.

        Raises:
            LabError: What the process found wrong with the question.
            Unavailable: If it is too busy, or ended before it answered.
        """
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.begin(method, answers.put, **params)
        while True:
            if "result" in (message := answered(answers.get())):
                return message["result"]

    def stream(self, method: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The pieces of an answer as they come. Closing the iterator gives the request up.

        Raises:
            LabError: As ask, at any point.
        """
        messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        number = self.begin(method, messages.put, **params)
        ended = False
        try:
            while not ended:
                message = messages.get()
                ended = "piece" not in message
                if "piece" in answered(message):
                    yield message["piece"]
        finally:
            if not ended:
                self.cancel(number)

    def begin(self, method: str, receive: Receive, **params: Any) -> int:
        """Ask, and have `receive` called with every message of the answer; returns the number by which it can be cancelled.

        Raises:
            Unavailable: If too many are waiting already.
        """
        number = next(self._numbers)
        line = json.dumps({"id": number, "method": method, "params": params})
        with self._lock:
            child = self._running()
            if len(child.asked) >= self._limits.waiting:
                raise Unavailable(_ASKED, "The inspector has its hands full with other requests", "Try again in a few seconds")
            child.asked[number] = _Asked(line, receive)
            self._send(child, line)
        return number

    def cancel(self, number: int) -> None:
        """Give a request up; nothing happens if it has ended."""
        with self._lock:
            child = self._child
            if child is not None and child.asked.pop(number, None) is not None:
                self._send(child, json.dumps({"cancel": number}))

    @property
    def pid(self) -> int | None:
        """The process, if one is running."""
        child = self._child
        return child.process.pid if child is not None and child.process.poll() is None else None

    def close(self) -> None:
        """End the process. Whoever waits is told."""
        with self._lock:
            self._closed, child = True, self._child
            self._child = None
        if child is not None:
            _end(child.process)

    def _running(self) -> _Child:
        """The process, started now if there is none."""
        if self._closed:
            raise Unavailable(_ASKED, "The lab is being closed", "Start it again")
        if self._child is None or self._child.process.poll() is not None:
            self._child = self._started()
        return self._child

    def _started(self) -> _Child:
        command = [sys.executable, "-m", "lorasae.inspection.service", str(self._home.resolve()), str(self._limits.idle_s)]
        try:
            process = subprocess.Popen(
                command, env=_environment(), cwd=_PACKAGE_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=_log(self._home),
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(_ASKED, f"Its process cannot be started: {error.strerror}", "Close other programs, then try again") from None
        child = _Child(process, heard_at=time.monotonic())
        threading.Thread(target=self._listen, args=(child,), name="inspector", daemon=True).start()
        return child

    def _send(self, child: _Child, line: str) -> None:
        if len(child.asked) == 1:
            child.heard_at = time.monotonic()  # it was idle: silence counts from now
        with suppress(OSError, ValueError):  # it has just ended: the listener tells everybody
            assert child.process.stdin is not None
            child.process.stdin.write(line.encode() + b"\n")
            child.process.stdin.flush()

    def _listen(self, child: _Child) -> None:
        """Hand on what the process says until it says no more."""
        assert child.process.stdout is not None
        for line in self._lines(child):
            try:
                message = json.loads(line)
            except ValueError:  # cut off as it died
                continue
            child.heard_at = time.monotonic()
            self._hand_on(child, message)
        _end(child.process)
        self._tell_all(child)

    def _lines(self, child: _Child) -> Iterator[bytes]:
        """Lines as they come; a process that is asked and stays silent is ended."""
        assert child.process.stdout is not None
        descriptor, rest = child.process.stdout.fileno(), b""
        while True:
            ready, _, _ = select.select([descriptor], [], [], min(1.0, self._limits.silent_s / 4))
            if not ready:
                if child.asked and time.monotonic() - child.heard_at > self._limits.silent_s:
                    child.stuck = True
                    child.process.kill()
                continue
            chunk = os.read(descriptor, 2**20)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines

    def _hand_on(self, child: _Child, message: dict[str, Any]) -> None:
        with self._lock:
            asked = child.asked.get(message["id"])
            if asked is None:  # given up
                return
            if "begun" in message:
                asked.begun = True
                return
            if "piece" not in message:
                del child.asked[message["id"]]
        asked.receive(message)

    def _tell_all(self, child: _Child) -> None:
        """The process is gone. What it had not begun when it went home idle is asked again; all else is told."""
        went_home = child.process.returncode == 0 and not self._closed
        with self._lock:
            if self._child is child:
                self._child = None
            unanswered, child.asked = child.asked, {}
        for number, asked in unanswered.items():
            if went_home and not asked.begun and not asked.sent_again and self._sent_again(number, asked):
                continue
            asked.receive({"ended": "stuck" if child.stuck else "closed" if self._closed else "died"})

    def _sent_again(self, number: int, asked: _Asked) -> bool:
        asked.sent_again = True
        with self._lock:
            try:
                child = self._running()
            except LabError:
                return False
            child.asked[number] = asked
            self._send(child, asked.line)
        return True


def answered(message: dict[str, Any]) -> dict[str, Any]:
    """The message, which is an answer or a piece of one.

    Raises:
        LabError: If it is a problem.
    """
    if "problem" in message:
        raise LabError(*message["problem"])
    if "failed" in message:
        raise LabError(_ASKED, "The lab failed at this", "Try another text or feature; the lab's log says more")
    if "ended" in message:
        found = {
            "stuck": "It took too long, and was given up",
            "closed": "The lab is being closed",
            "died": "Its process ended in the middle of it, most often because memory ran out",
        }[message["ended"]]
        raise Unavailable(_ASKED, found, "Try again; if it happens again, use a shorter text or a narrower SAE")
    return message


def _environment() -> dict[str, str]:
    """A worker's, without the Hub: what is inspected is on this machine. Half the cores, so that a run beside it goes on."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else 1)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return worker_environment(os.environ, "") | offline | {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}


def _log(home: Path) -> Any:
    """Where the process's own words go: the last process's, so that the file stays small."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        return (home / "inspection.log").open("wb")
    except OSError:
        return subprocess.DEVNULL


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close its input, which ends it; a process that does not heed it is killed."""
    with suppress(OSError, ValueError):
        assert process.stdin is not None
        process.stdin.close()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
