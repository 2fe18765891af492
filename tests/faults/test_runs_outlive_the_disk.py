"""A Space is restarted on an empty disk: its runs come back from the bucket and end as if nothing had happened. Real processes."""

import os
import shutil
import signal
import time

import pytest

from lorasae.store.run_folder import Run
from lorasae.store.run_records import Status
from tests.faults.conftest import App, check_whole, until, workers_of
from tests.faults.test_jobs_survive import over, step


@pytest.fixture
def bucket(tmp_path):
    return tmp_path / "bucket"


def kept(bucket, run: Run) -> Run:
    return Run(bucket / "runs" / run.run_id)


def wipe(app: App) -> None:
    """What a Space's disk goes through at a restart."""
    for pid in workers_of(app.home):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not workers_of(app.home))
    shutil.rmtree(app.home)


def test_killed_with_its_disk_a_run_goes_on_from_the_bucket_to_the_same_adapter(app, config, expected, bucket):
    (run,) = app.start(config, LORASAE_KEEP=str(bucket))
    until(lambda: any(kept(bucket, run).checkpoints.glob("step-*/manifest.json")) or over(run))
    worker = workers_of(app.home)[0]
    os.kill(worker, signal.SIGSTOP)  # so that it does not finish before it is killed
    app.kill()
    wipe(app)
    app.start(LORASAE_KEEP=str(bucket))
    until(lambda: over(run))
    check_whole(run, expected)
    assert run.told.resumed_from  # it did not begin anew
    app.end()
    check_whole(kept(bucket, run), expected)
    assert kept(bucket, run).owed_since is None


def test_told_to_end_a_space_saves_its_run_in_the_bucket_within_the_time_it_is_given(app, config, expected, bucket):
    (run,) = app.start(config, LORASAE_KEEP=str(bucket))
    until(lambda: step(run) > 25)
    assert app.end() < 10  # seconds, as a Space gives them
    reached, copied = run.told.step, kept(bucket, run).told
    assert (copied.state, copied.step) == ("interrupted", reached) and kept(bucket, run).owed_since
    wipe(app)
    app.start(LORASAE_KEEP=str(bucket))
    until(lambda: over(run))
    check_whole(run, expected)
    assert run.told.resumed_from == reached  # not a step was lost


def test_a_finished_run_comes_back_as_it_was(app, config, bucket, world):
    (run,) = app.start(config, LORASAE_KEEP=str(bucket))
    until(lambda: over(run))
    until(lambda: kept(bucket, run).owed_since is None and kept(bucket, run).has_result and kept(bucket, run).told == run.told)
    before = {path.relative_to(run.folder): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    app.kill()
    wipe(app)
    app.start(LORASAE_KEEP=str(bucket))
    time.sleep(0.6)
    assert {path.relative_to(run.folder): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    assert isinstance(run.status, Status) and run.status.state == "succeeded"
