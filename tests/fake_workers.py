"""Workers that do nothing but hold their claim, for the tests of the queue: the test says when they speak and how they end."""

import os
from dataclasses import replace

from lorasae.store.claims import Claim
from lorasae.store.run_folder import Run
from lorasae.store.run_records import State


class FakeWorker:
    """At work until told otherwise."""

    def __init__(self, run: Run, claim: Claim, owner: str, device: str, token: str | None = None, most_bytes: int | None = None) -> None:
        self.run, self.owner, self.device, self.token, self.most_bytes = run, owner, device, token, most_bytes
        self.pid = 2_000_000_000  # nobody's
        self.asked = False
        self._claim = os.dup(claim.descriptor)  # as a child would inherit it
        self._alive = True

    def says(self, **status) -> None:
        self.run.write_status(replace(self.run.told, state="running", **status))

    def ends(self, state: State | None = None, message: str = "") -> None:
        """With a word, or (None) without one."""
        if state:
            self.run.write_status(replace(self.run.told, state=state, phase="done", message=message))
        if self._alive:
            os.close(self._claim)
        self._alive = False

    def ended(self) -> bool:
        return not self._alive

    def why(self) -> str:
        return "signal 9: ended by the system, most often because memory ran out"

    def ask_to_end(self) -> None:
        self.asked = True
        self.ends("interrupted", "Stopped after a step")

    def kill(self) -> None:
        self.ends()


class StubbornWorker(FakeWorker):
    """Hears nothing."""

    def ask_to_end(self) -> None:
        self.asked = True


class Workplace:
    """A launcher that remembers whom it started, in order."""

    def __init__(self, kind: type[FakeWorker] = FakeWorker) -> None:
        self.kind = kind
        self.started: list[FakeWorker] = []

    def __call__(self, run: Run, claim: Claim, owner: str, device: str, token: str | None, most_bytes: int | None) -> FakeWorker:
        self.started.append(self.kind(run, claim, owner, device, token, most_bytes))
        return self.started[-1]

    @property
    def at_work(self) -> list[FakeWorker]:
        return [worker for worker in self.started if not worker.ended()]
