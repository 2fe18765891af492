"""The app dies at every single write it makes, one after the other: what was acknowledged is done, and done once.

A "death" is an exception at the n-th operation that reaches the disk or starts a process; from then on every further one fails too, as
nothing is done by the dead. What was written stays, a started worker stays. Then a new app opens the home.
"""

import contextlib
import itertools
from pathlib import Path

import pytest

from lorasae.store.run_folder import Run
from lorasae.store.run_index import RunIndex
from lorasae.store.runs import RunStore
from tests.fake_workers import FakeWorker
from tests.test_jobs import Bench, fast_path  # noqa: F401  # a fixture


class Death(BaseException):
    """kill -9, as far as Python can be killed by itself."""


class Fate:
    """Counts operations, and ends the app at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.n = at, 0

    def strikes(self) -> bool:
        self.n += 1
        return self.n >= self.at


@contextlib.contextmanager
def mortal(monkeypatch, fate: Fate):
    """Inside the block every write of the app may be its last: it dies before it, or directly after."""

    def doomed(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*args, **options):
            if fate.strikes():
                raise Death
            result = real(*args, **options)
            if fate.strikes():
                raise Death
            return result

        patch.setattr(owner, name, wrapped)

    def doomed_transaction(real):
        @contextlib.contextmanager
        def wrapped(index):
            if fate.strikes():
                raise Death
            with real(index) as connection:
                yield connection
                if fate.strikes():
                    raise Death  # before the commit
            if fate.strikes():
                raise Death

        return wrapped

    with monkeypatch.context() as patch:
        for owner, name in (
            (RunStore, "create"),
            (RunStore, "remove"),
            (Run, "write_status"),
            (Run, "settle"),
            (Run, "owe"),
            (Run, "note_attempt"),
        ):
            doomed(owner, name)
        patch.setattr(RunIndex, "_changing", doomed_transaction(RunIndex._changing))
        yield doomed


def life(bench: Bench, acknowledged: list[str], workers: list[FakeWorker]) -> None:
    """Two runs are submitted, done one after the other, and one of them is resumed in between."""
    for owner in ("visitor-a", "visitor-b"):
        acknowledged.append(bench.submit(owner).run_id)
    bench.look()
    workers[0].says(phase="training", step=3)
    workers[0].ends()  # without a word
    bench.look()
    for worker in list(workers):
        if not worker.ended():
            worker.ends("succeeded")
    bench.look()


def test_the_app_may_die_at_any_write(fast_path, monkeypatch):  # noqa: F811
    deaths = 0
    for at in itertools.count(1):
        home = fast_path / str(at)
        bench = Bench(home)
        acknowledged: list[str] = []
        with mortal(monkeypatch, Fate(at)) as doomed:
            doomed(type(bench.place), "__call__")
            try:
                life(bench, acknowledged, bench.place.started)
            except Death:
                deaths += 1
            else:
                break
        check_next_life(home, bench, acknowledged)
    assert deaths > 30


def check_next_life(home: Path, dead: Bench, acknowledged: list[str]) -> None:
    """A new app finishes everything; no run is at work twice, none is forgotten."""
    left = [worker for worker in dead.place.started if not worker.ended()]
    bench = dead.killed()
    known = {run.run_id for run in bench.jobs.store.all()}
    assert set(acknowledged) <= known and known == bench.jobs.index.known()
    for _ in range(8):
        bench.look()
        at_work = [*bench.place.at_work, *(worker for worker in left if not worker.ended())]
        assert len({worker.run.run_id for worker in at_work}) == len(at_work)
        for worker in at_work:
            worker.ends("succeeded")
    for run in bench.jobs.store.all():
        assert bench.state(run) == "succeeded" and bench.job(run) == "" and run.owed_since is None, (home, run.run_id)
    bench.jobs.index.close()


def test_a_death_between_settling_and_the_index_leaves_no_run_waiting_for_ever(tmp_path, monkeypatch):
    bench = Bench(tmp_path)
    run = bench.submit()
    bench.look()
    bench.place.started[0].ends("succeeded")
    with monkeypatch.context() as patch:
        patch.setattr(RunIndex, "change", lambda *_, **__: (_ for _ in ()).throw(Death()))
        with pytest.raises(Death):
            bench.look()
    again = bench.killed()
    assert again.job(run) == "" and again.state(run) == "succeeded"
