"""Real processes killed at real instants: no run is lost, none is doubled, and the adapter is the one of a run nobody disturbed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.lab import open_lab
from lorasae.settings import LabSettings
from lorasae.store.run_folder import Run
from tests.faults.conftest import ROOT, App, check_whole, until, workers_of


def step(run: Run) -> int:
    """The last one written: what a page would show."""
    return max((row["step"] for row in run.metrics()), default=-1)


def over(run: Run) -> bool:
    return run.status.state in ("succeeded", "stopped", "failed") and not run.is_claimed


def kill_worker(app: App, before: int | None = None) -> int:
    """kill -9 of the one worker, another one than `before`."""
    until(lambda: [pid for pid in workers_of(app.home) if pid != before])
    (pid,) = [pid for pid in workers_of(app.home) if pid != before]
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.parametrize("instants", [("loading", "training"), ("measuring", "evaluating")])
def test_a_worker_killed_twice_is_taken_up_twice(app, config, expected, instants):
    (run,) = app.start(config)
    killed = None
    for instant in instants:
        until(lambda instant=instant: (run.told.phase, run.is_claimed) == (instant, True) and (instant != "training" or step(run) > 40))
        killed = kill_worker(app, killed)
    until(lambda: over(run))
    check_whole(run, expected)
    assert run.log.read_text().count("interrupted at step") == 2
    app.end()
    assert not workers_of(app.home)


def test_after_kill_9_of_the_app_the_worker_goes_on_and_is_found_again(app, config, expected):
    run, other = app.start(config, tiny_run_of(config))
    until(lambda: step(run) > 20)
    (worker,) = workers_of(app.home)
    app.kill()
    reached = step(run)
    until(lambda: step(run) > reached or over(run))  # nobody watches, it goes on
    assert {each.run_id for each in app.start(config, tiny_run_of(config))} == {run.run_id, other.run_id}
    assert workers_of(app.home) in ([worker], [])
    until(lambda: over(run) and over(other))
    check_whole(run, expected)
    assert run.log.read_text().count("training:") == 1 and other.status.state == "succeeded"


def test_an_app_killed_in_the_instant_after_it_started_a_worker_starts_no_second_one(app, config, expected):
    """The worker has not said a word yet: only its claim, which it was born with, tells of it."""
    (run,) = app.start(config)
    until(lambda: workers_of(app.home))
    app.kill()
    before = workers_of(app.home)
    app.start()
    for _ in range(50):
        assert workers_of(app.home) in (before, [])
        time.sleep(0.02)
    until(lambda: over(run))
    check_whole(run, expected)
    assert run.log.read_text().count("loading:") == 1


def test_after_kill_9_of_both_the_run_is_taken_up(app, config, expected):
    (run,) = app.start(config)
    until(lambda: step(run) > 40)
    (worker,) = workers_of(app.home)
    app.kill()
    os.kill(worker, signal.SIGKILL)
    until(lambda: not run.is_claimed)
    assert run.status.state == "interrupted"
    assert app.start(config)[0].run_id == run.run_id
    until(lambda: over(run))
    check_whole(run, expected)
    assert len(app.store.all()) == 1


def test_an_app_that_ends_in_good_order_saves_and_goes_on(app, config, expected):
    (run,) = app.start(config)
    until(lambda: step(run) > 25)
    assert app.end() < 10
    assert not workers_of(app.home) and run.status.state == "interrupted" and run.owed_since
    assert run.status.step == step(run)  # not a step was lost
    app.start()
    until(lambda: over(run))
    check_whole(run, expected)


def test_a_wish_to_keep_survives_the_end_of_both(app, config, expected):
    (run,) = app.start(config)
    until(lambda: step(run) > 25)
    (worker,) = workers_of(app.home)
    os.kill(worker, signal.SIGSTOP)  # so that the wish is there before the worker can heed it
    run.wish_stop("keep")
    app.kill()
    os.kill(worker, signal.SIGKILL)
    until(lambda: not run.is_claimed)
    app.start()
    until(lambda: over(run))
    assert run.status.state == "stopped" and 20 <= run.result["step"] < 120 and run.stop_wish is None
    app.end()
    with open_lab(settings(app)) as lab:
        assert lab.jobs.resume_blocked(run) is None
        lab.jobs.resume("local", run.run_id)
        until(lambda: lab.jobs.view(run.run_id).state == "succeeded")
    check_whole(run, expected)


def test_discarding_a_run_ends_its_process_at_once(app, config):
    with open_lab(settings(app)) as lab:
        run = lab.jobs.submit("local", config, "click")
        until(lambda: step(run) > 5)
        started = time.monotonic()
        lab.jobs.discard(run.run_id)
        assert time.monotonic() - started < 2
        assert not workers_of(app.home) and not run.folder.exists() and lab.jobs.runs_of("local") == []


def test_a_hanging_worker_is_ended_and_its_run_taken_up(app, config, expected, monkeypatch):
    """Stopped by SIGSTOP, it hears no SIGTERM either."""
    monkeypatch.setattr("lorasae.jobs.scheduler._LEAVE_S", 0.5)
    with open_lab(settings(app)) as lab:
        run = lab.jobs.submit("local", config, "click")
        until(lambda: step(run) > 25)
        (worker,) = workers_of(app.home)
        os.kill(worker, signal.SIGSTOP)
        monkeypatch.setattr("lorasae.jobs.scheduler.patience", lambda _: 1.0)
        until(lambda: worker not in workers_of(app.home))
        monkeypatch.undo()
        until(lambda: lab.jobs.view(run.run_id).state == "succeeded")
    check_whole(run, expected)


def test_two_apps_cannot_have_one_home(app):
    app.start()
    second = subprocess.run(
        [sys.executable, "-m", "tests.faults.app_process", str(app.home)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"Another copy of it is running (pid {app.process.pid}, since" in second.stdout
    with pytest.raises(LabError, match="LORASAE_HOME"):
        open_lab(settings(app))
    app.kill()
    app.start()  # what was killed holds nothing


def test_a_worker_has_no_secret_in_its_environment(app, config):
    canary = "hf_canary" + "x" * 20
    secret = {"HF_TOKEN": canary, "OAUTH_CLIENT_SECRET": canary, "HF_HUB_TOKEN": canary, "SOME_API_KEY": canary}
    (run,) = app.start(tiny_run_of(config), **secret)
    until(lambda: run.told.pid and run.is_claimed)
    (worker,) = workers_of(app.home)
    with open(f"/proc/{worker}/environ", "rb") as environment:
        content = environment.read()
    assert b"canary" not in content and b"OMP_WAIT_POLICY=passive" in content
    until(lambda: over(run))
    found = [path for path in app.home.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]
    assert found == []


def settings(app: App) -> LabSettings:
    return LabSettings(app.home, "local", "127.0.0.1", 7860, ("127.0.0.1",))


def tiny_run_of(config: RunConfig) -> RunConfig:
    """The same in little."""
    return config.model_copy(update={"train": config.train.model_copy(update={"tokens": 4 * 64})})
