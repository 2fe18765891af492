"""The queue: every run is in one state, nothing is lost or doubled, everybody gets a turn. Workers are fakes; real ones: tests/faults."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lorasae.config import RunConfig, run_config
from lorasae.errors import LabError
from lorasae.jobs.admission import Limits, Share, limits_here
from lorasae.jobs.jobs import Jobs
from lorasae.jobs.queue_order import order
from lorasae.jobs.workers import devices, worker_environment
from lorasae.keeping.keeper import Keeper
from lorasae.keeping.place import Place
from lorasae.keeping.restoring import restored
from lorasae.store.run_folder import Run
from lorasae.store.run_index import RunIndex
from lorasae.store.run_records import FeatureRef, Pins
from lorasae.store.runs import RunStore
from tests.fake_workers import FakeWorker, StubbornWorker, Workplace

GENEROUS = Limits(visitor=Share(running=50, queued=1000))
VISITOR = "visitor-0123456789abcdef01234567"


class Bench:
    """Jobs without a thread: the test says when the scheduler looks, and what time it is."""

    def __init__(self, home, limits=GENEROUS, kind=FakeWorker, devices=("",)):
        self.home, self.now, self._tokens = home, 0.0, itertools.count()
        self.place = Workplace(kind)
        self.jobs = Jobs(
            RunStore(home), RunIndex(home / "index.sqlite3"), limits, launcher=self.place, devices=devices, clock=lambda: self.now
        )
        self.jobs.scheduler.take_up()

    def submit(self, owner: str = "local", **settings) -> Run:
        return self.jobs.submit(owner, run_config(settings), f"click-{next(self._tokens)}")

    def look(self) -> None:
        self.jobs.scheduler.tick()

    def state(self, run: Run) -> str:
        return self.jobs.view(run.run_id).state

    def job(self, run: Run) -> str:
        row = self.jobs.index.row(run.run_id)
        return "gone" if row is None else row.job

    def killed(self) -> "Bench":
        """The app dies with kill -9 and is started again; what was at work goes on."""
        self.jobs.index.close()
        again = Bench(self.home, self.jobs.limits, self.place.kind, self.jobs.scheduler.devices)
        again._tokens, again.now = self._tokens, self.now
        return again


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# Submitting


def test_a_run_waits_starts_and_ends(bench):
    run = bench.submit(name="mine")
    view = bench.jobs.view(run.run_id)
    assert (view.state, view.position, view.phase, view.n_steps) == ("queued", 0, "queued", RunConfig().n_steps)
    bench.look()
    assert bench.state(run) == "running" and run.is_claimed
    (worker,) = bench.place.started
    worker.says(phase="training", step=7, eta_s=12.0)
    view = bench.jobs.view(run.run_id)
    assert (view.state, view.position, view.phase, view.step, view.eta_s) == ("running", None, "training", 7, 12.0)
    worker.ends("succeeded")
    bench.look()
    assert bench.state(run) == "succeeded" and bench.job(run) == "" and run.owed_since is None
    assert [row.name for row in bench.jobs.runs_of("local")] == ["mine"]


def test_position_is_the_number_of_jobs_ahead(bench):
    runs = [bench.submit() for _ in range(3)]
    assert [bench.jobs.position(run.run_id) for run in runs] == [0, 1, 2]
    bench.look()
    assert [bench.jobs.position(run.run_id) for run in runs] == [None, 1, 2]


def test_a_double_click_starts_one_run_even_from_many_threads(bench):
    start = threading.Barrier(12)

    def click(_):
        start.wait()
        return bench.jobs.submit("local", RunConfig(), "one-click").run_id

    with ThreadPoolExecutor(12) as threads:
        assert len(set(threads.map(click, range(12)))) == 1
    assert len(bench.jobs.store.all()) == 1
    other = bench.jobs.submit(VISITOR, RunConfig(), "one-click")  # a token is one owner's
    assert bench.jobs.submit("local", RunConfig(), "one-click").run_id != other.run_id
    again = bench.killed()
    assert again.jobs.submit("local", RunConfig(), "one-click").run_id in {run.run_id for run in again.jobs.store.all()}
    assert len(again.jobs.store.all()) == 2


def test_pins_and_name_go_into_the_folder(bench):
    pins = Pins("A kite.", (FeatureRef("pocket-scope", "layer_2/width_2k/average_l0_17", 7),))
    run = bench.jobs.submit("local", RunConfig(name="from yaml"), "click", "  my\nname ", pins)
    assert run.pins == pins and run.about.name == "my name" and run.about.owner == "local"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": {"model": "/etc"}}, "model.model"),
        ({"model": {"model": "../models/secret"}}, "model.model"),
        ({"saes": [{"release": "/etc", "sae_id": ""}]}, "saes.0"),
        ({"data": {"source": "/etc/passwd.txt"}}, "data.source"),
        ({"data": {"source": "~/notes.txt"}}, "data.source"),
        ({"data": {"source": "assets"}}, "data.source"),
        ({"saes": [{"release": "pocket-scope", "sae_id": "layer_2/width_3k"}]}, "none of that id"),
        ({"train": {"tokens": 10**9}}, "train.tokens"),
        ({"adapter": {"rank": 4096}}, "adapter.rank"),
        ({"data": {"context_length": 8192}, "train": {"tokens_per_step": 8192}}, "data.context_length"),
        ({"train": {"tokens": 4_000_000, "tokens_per_step": 128}}, "steps were asked for"),
    ],
)
def test_what_a_visitor_may_not_ask_for_is_refused_and_leaves_nothing(bench, settings, sentence):
    with pytest.raises(LabError, match=sentence):
        bench.submit(VISITOR, **settings)
    assert bench.jobs.store.all() == [] and bench.jobs.index.known() == set()


def test_a_visitor_may_use_an_upload_of_their_own_and_nobody_else_s(bench):
    for owner in (VISITOR, "visitor-of-another-browser"):
        (bench.home / "uploads" / owner).mkdir(parents=True)
        (bench.home / "uploads" / owner / "text.txt").write_text("Some text.")
    own = str(bench.home / "uploads" / VISITOR / "text.txt")
    assert bench.submit(VISITOR, data={"source": own}).config.data.source == own
    for foreign in (own.replace(VISITOR, "visitor-of-another-browser"), own.replace(VISITOR, f"{VISITOR}/../visitor-of-another-browser")):
        with pytest.raises(LabError, match=r"data\.source"):
            bench.submit(VISITOR, data={"source": foreign})


def test_the_machine_s_own_user_may_name_any_file(bench, tmp_path):
    (tmp_path / "text.txt").write_text("Some text.")
    source = str(tmp_path / "text.txt")
    assert bench.submit("local", data={"source": source}, train={"tokens": 10**9}).config.data.source == source


def test_a_browser_without_a_cookie_owns_nothing(bench):
    with pytest.raises(LabError, match="cookie"):
        bench.submit("nobody")


def test_limits_are_told_with_their_numbers(tmp_path):
    bench = Bench(tmp_path, Limits())
    runs = [bench.submit(VISITOR) for _ in range(3)]
    bench.look()
    with pytest.raises(LabError, match="You have 3 under way; in this lab one person may have 1 running and 2 waiting"):
        bench.submit(VISITOR)
    bench.submit("visitor-another")
    bench.place.started[0].ends("succeeded")
    bench.look()
    bench.submit(VISITOR)
    with pytest.raises(LabError, match="under way"):
        bench.submit(VISITOR)
    bench.jobs.discard(runs[2].run_id)
    bench.submit(VISITOR)


def test_resuming_counts_as_asking_for_a_run(tmp_path):
    bench = Bench(tmp_path, Limits())
    first = bench.submit(VISITOR)
    bench.jobs.stop(first.run_id)
    for _ in range(3):
        bench.submit(VISITOR)
    with pytest.raises(LabError, match="under way"):
        bench.jobs.resume(VISITOR, first.run_id)


def test_one_visitor_s_second_run_does_not_take_a_second_device(tmp_path):
    bench = Bench(tmp_path, Limits(), devices=("0", "1"))
    bench.submit(VISITOR), bench.submit(VISITOR), bench.submit("visitor-another")
    bench.look()
    assert [(worker.owner, worker.device) for worker in bench.place.at_work] == [(VISITOR, "0"), ("visitor-another", "1")]


def test_how_much_a_repository_may_bring_is_bounded_for_visitors_alone(tmp_path):
    limits = limits_here(frozenset({"hub-operator"}), {"LORASAE_VISITORS_FETCH_GB": "2.5"})
    bench = Bench(tmp_path, limits=limits, devices=("0", "1", "2"))
    for owner in (VISITOR, "hub-operator", "local"):
        bench.submit(owner)
    bench.look()
    assert {worker.owner: worker.most_bytes for worker in bench.place.at_work} == {
        VISITOR: 2_500_000_000,
        "hub-operator": None,
        "local": None,
    }
    assert limits_here(environment={}).fetch_bound(VISITOR) == 60_000_000_000
    with pytest.raises(LabError, match="LORASAE_VISITORS_FETCH_GB=all was given"):
        limits_here(environment={"LORASAE_VISITORS_FETCH_GB": "all"})


def test_a_full_index_disk_refuses_the_run_and_leaves_nothing(bench, monkeypatch):
    def full(*_args, **_options):
        raise LabError("The index", "The disk is full", "Free some space")

    monkeypatch.setattr(bench.jobs.index, "add", full)
    with pytest.raises(LabError, match="disk is full"):
        bench.submit()
    assert bench.jobs.store.all() == [] and list(bench.jobs.store.root.iterdir()) == []


# Turns


@pytest.fixture
def fast_path(tmp_path):
    """A folder in memory where there is one: thousands of commits to a disk take their time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_fifty_owners_with_twenty_runs_each_take_turns(fast_path):
    """Owners come one after the other with all their runs at once; nobody waits for another's twenty."""
    bench = Bench(fast_path, devices=("0", "1"))
    owners = [f"visitor-{number:02}" for number in range(50)]
    template = bench.submit("local").folder
    for owner, number in itertools.product(owners, range(20)):  # straight into home and index: a thousand submissions take long
        folder = bench.jobs.store.root / f"20261124-000000-{owners.index(owner):08x}{number:08x}"
        shutil.copytree(template, folder)
        run = Run(folder)
        bench.jobs.index.add(run.run_id, replace(run.about, owner=owner, submission=f"{number}"), "queued", bench.jobs.index.next_place())
    bench.jobs.discard(template.name)
    (first,) = [row.run_id for row in order(bench.jobs.index.with_job("queued"), {})][:1]
    while bench.place.at_work or bench.jobs.index.with_job("queued"):
        bench.look()
        assert len(bench.place.at_work) == min(2, len(bench.place.at_work) + len(bench.jobs.index.with_job("queued")))
        for worker in bench.place.at_work:
            worker.ends("succeeded")
        bench.look()
        for worker in bench.place.at_work:
            worker.ends("succeeded")
    started = [worker.owner for worker in bench.place.started]
    assert len(started) == 1000 and len({worker.run.run_id for worker in bench.place.started}) == 1000
    assert bench.place.started[0].run.run_id == first
    for turn in range(20):  # each round, each owner once
        assert sorted(started[turn * 50 : (turn + 1) * 50]) == owners
    for owner in owners:  # and within an owner, first come first
        own = [worker.run.run_id for worker in bench.place.started if worker.owner == owner]
        assert own == sorted(own)


def test_a_newcomer_goes_before_the_second_run_of_those_who_came_first(bench):
    first = [bench.submit("visitor-a") for _ in range(5)]
    bench.look()
    late = bench.submit("visitor-b")
    assert bench.jobs.position(late.run_id) == 1 and bench.jobs.position(first[1].run_id) == 2
    bench.place.started[0].ends("succeeded")
    bench.look()
    assert bench.place.started[1].run.run_id == late.run_id


# Stopping, discarding, deleting, resuming


def test_a_waiting_run_is_taken_out_and_can_be_resumed(bench):
    bench.submit()
    run = bench.submit()
    bench.look()
    bench.jobs.stop(run.run_id)
    view = bench.jobs.view(run.run_id)
    assert view.state == "interrupted" and "before it started" in view.message and run.owed_since is None
    bench.jobs.resume("local", run.run_id)
    assert bench.state(run) == "queued" and run.owed_since


def test_stop_and_keep_is_wished_and_the_worker_s_word_is_believed(bench):
    run = bench.submit()
    bench.look()
    bench.jobs.stop(run.run_id)
    assert run.stop_wish == "keep" and bench.state(run) == "stopping"
    bench.place.started[0].ends("stopped", "Stopped after step 3 of 9")
    bench.look()
    assert bench.state(run) == "stopped" and bench.job(run) == ""
    bench.jobs.resume("local", run.run_id)
    assert run.stop_wish is None
    bench.look()
    assert bench.state(run) == "running" and len(bench.place.started) == 2


def test_a_pause_ends_the_run_for_now(bench):
    run = bench.submit()
    bench.look()
    bench.jobs.pause(run.run_id)
    assert run.stop_wish == "pause"
    bench.place.started[0].ends("interrupted", "Stopped after step 3")
    bench.look()
    assert bench.state(run) == "interrupted" and bench.job(run) == "" and bench.jobs.resume_blocked(run) is None


def test_what_is_not_under_way_cannot_be_stopped(bench):
    run = bench.submit()
    bench.look()
    bench.place.started[0].ends("succeeded")
    bench.look()
    with pytest.raises(LabError, match="not under way: it is succeeded"):
        bench.jobs.stop(run.run_id)


def test_discarding_ends_the_process_and_removes_the_folder(bench):
    waiting, running = bench.submit(), bench.submit()
    bench.jobs.stop(waiting.run_id)
    bench.look()
    bench.jobs.discard(running.run_id)
    assert not bench.place.at_work and not running.folder.exists() and bench.job(running) == "gone"
    bench.jobs.discard(waiting.run_id)
    assert list(bench.jobs.store.root.iterdir()) == []
    follower = bench.submit()
    bench.look()
    assert bench.state(follower) == "running"
    with pytest.raises(LabError, match="no run of that id"):
        bench.jobs.discard(running.run_id)


def test_resuming_says_why_it_cannot(bench, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Some text.")
    run = bench.submit(data={"source": str(text)})
    assert "waits" in bench.jobs.resume_blocked(run)
    bench.look()
    assert "under way" in bench.jobs.resume_blocked(run)
    from lorasae.store.source_record import record_source

    record_source(run, run.config)
    bench.place.started[0].ends("interrupted")
    bench.look()
    assert bench.jobs.resume_blocked(run) is None
    os.utime(text, ns=(1, 1))
    assert bench.jobs.resume_blocked(run) is None  # copied back: the same text
    text.write_text("Other text.")
    assert "not what it was" in bench.jobs.resume_blocked(run)
    text.unlink()
    assert "not there any more" in bench.jobs.resume_blocked(run)
    with pytest.raises(LabError, match=r"not there any more.*Duplicate"):
        bench.jobs.resume("local", run.run_id)
    (run.folder / "config.json").write_text("{")
    assert "damaged" in bench.jobs.resume_blocked(run)
    done = bench.submit()
    bench.look()
    bench.place.started[-1].ends("succeeded")
    bench.look()
    assert "finished" in bench.jobs.resume_blocked(done)


def test_a_run_is_taken_off_the_list_and_comes_back_when_it_is_resumed(bench):
    run = bench.submit()
    bench.look()
    with pytest.raises(LabError, match="under way"):
        bench.jobs.delete(run.run_id, with_files=False)
    bench.place.started[0].ends("interrupted")
    bench.look()
    bench.jobs.delete(run.run_id, with_files=False)
    assert bench.jobs.runs_of("local") == [] and run.folder.is_dir()
    bench = bench.killed()
    assert bench.jobs.runs_of("local") == []
    bench.jobs.resume("local", run.run_id)
    assert [row.run_id for row in bench.jobs.runs_of("local")] == [run.run_id]
    bench.jobs.delete(run.run_id, with_files=True)
    assert bench.jobs.runs_of("local") == [] and not run.folder.exists()


def test_name_and_sharing_are_in_the_folder_so_that_a_lost_index_costs_nothing(bench):
    run = bench.submit(VISITOR)
    bench.jobs.rename(run.run_id, "<b>bold</b>")
    bench.jobs.share(run.run_id, True)
    with pytest.raises(LabError, match="201 characters, 200 are kept"):
        bench.jobs.rename(run.run_id, "x" * 201)
    bench.jobs.index.close()
    (bench.home / "index.sqlite3").unlink()
    (row,) = Bench(bench.home).jobs.runs_of(VISITOR)
    assert (row.name, row.shared, row.job) == ("<b>bold</b>", True, "queued")


def test_the_example_is_there_to_be_looked_at(bench, monkeypatch, tmp_path):
    from lorasae.store import run_folder

    example = RunStore(tmp_path / "elsewhere").create(RunConfig(name="example"))
    monkeypatch.setattr(run_folder, "EXAMPLE_FOLDER", example.folder)
    run = bench.jobs.store.open_id("example")
    assert run.read_only and run.about.shared and run.about.owner == "example" and bench.jobs.view("example").state == "created"
    assert "example" in bench.jobs.resume_blocked(run)
    for act in (bench.jobs.stop, bench.jobs.discard, lambda run_id: bench.jobs.rename(run_id, "mine")):
        with pytest.raises(LabError, match="looked at"):
            act("example")
    assert example.folder.is_dir()


# Processes that end in other ways


def test_a_worker_that_ends_without_a_word_is_tried_three_times(bench):
    run = bench.submit()
    for attempt in (1, 2, 3):
        bench.look()
        worker = bench.place.started[-1]
        assert len(bench.place.started) == attempt
        worker.says(phase="training", step=480, resumed_from=None if attempt == 1 else 450)
        if attempt > 1:
            assert bench.jobs.view(run.run_id).message == f"Interrupted at step 480, resumed from 450 (try {attempt} of 3)"
        worker.ends()
        bench.look() if attempt == 3 else bench.jobs.scheduler._attend(bench.jobs.scheduler._at_work[run.run_id])
    view = bench.jobs.view(run.run_id)
    assert view.state == "failed" and "ended 3 times" in view.message and "memory ran out" in view.message
    assert bench.jobs.resume_blocked(run) is None
    bench.jobs.resume("local", run.run_id)
    bench.look()
    assert bench.jobs.view(run.run_id).attempt == 1


def test_a_worker_that_dies_before_its_first_word_does_not_look_like_the_one_before(bench):
    """Its status still says what the process before it said, unless the lab says otherwise first."""
    run = bench.submit()
    bench.look()
    bench.place.started[0].ends("interrupted")
    bench.look()
    bench.jobs.resume("local", run.run_id)
    bench.look()
    bench.place.started[1].ends()
    bench.look()
    assert len(bench.place.started) == 3


def test_a_process_that_cannot_be_started_fails_its_run_alone(bench, monkeypatch):
    def no_room(*_):
        raise OSError(11, "Resource temporarily unavailable")

    run = bench.submit()
    monkeypatch.setattr(bench.jobs.scheduler, "launcher", no_room)
    bench.look()
    view = bench.jobs.view(run.run_id)
    assert view.state == "failed" and "Resource temporarily unavailable" in view.message and not run.is_claimed


@pytest.mark.parametrize("kind", [FakeWorker, StubbornWorker])
def test_a_worker_without_progress_is_ended_and_taken_up_again(tmp_path, kind):
    bench = Bench(tmp_path, kind=kind)
    run = bench.submit()
    bench.look()
    first = bench.place.started[0]
    for step in range(3):  # slow is not hanging
        first.says(phase="training", step=step, step_s=20.0)
        bench.now += 350
        bench.look()
    assert bench.place.started == [first]
    bench.now += 410  # more than twenty steps
    bench.look()
    assert first.asked
    bench.look()
    bench.now += 11
    bench.look()
    bench.look()
    assert first.ended() and len(bench.place.started) == 2
    view = bench.jobs.view(run.run_id)
    assert view.attempt == 2 and "(try 2 of 3)" in view.message and "no progress" in run.log.read_text()


def test_a_long_download_is_not_taken_for_hanging(bench):
    run = bench.submit()
    bench.look()
    bench.place.started[0].says(phase="downloading")
    for _ in range(20):
        bench.now += 1000
        run.append_log("model.safetensors: 12%")
        bench.look()
    assert len(bench.place.started) == 1 and not bench.place.started[0].asked


def test_a_run_deleted_by_hand_is_forgotten(bench):
    waiting, running = bench.submit(), bench.submit("visitor-b")
    bench.look()
    shutil.rmtree(waiting.folder), shutil.rmtree(running.folder)
    bench.place.started[0].ends()
    bench.look()
    bench.look()
    assert bench.jobs.index.known() == set() and not bench.place.at_work


# Restarts


def test_after_kill_9_of_the_app_its_workers_go_on_and_nothing_is_doubled(bench):
    running, waiting = bench.submit(), bench.submit()
    bench.look()
    (worker,) = bench.place.started
    again = bench.killed()
    again.look()
    assert again.state(running) == "running" and again.state(waiting) == "queued" and again.place.started == []
    worker.says(phase="training", step=5)
    assert again.jobs.view(running.run_id).step == 5
    worker.ends("succeeded")
    again.look()
    again.look()
    assert again.state(running) == "succeeded" and again.state(waiting) == "running" and len(again.place.started) == 1


def test_after_kill_9_of_both_the_run_goes_on_before_those_that_came_later(bench):
    running, waiting = bench.submit(), bench.submit()
    bench.look()
    bench.place.started[0].says(phase="training", step=5)
    bench.place.started[0].ends()
    again = bench.killed()
    assert again.jobs.view(running.run_id).message == "The lab was restarted; the run goes on"
    again.look()
    view = again.jobs.view(running.run_id)
    assert (view.state, view.attempt, view.message) == ("running", 1, "The lab was restarted; the run goes on")
    assert again.state(waiting) == "queued"


def test_a_run_that_brings_the_whole_machine_down_is_not_tried_for_ever(bench):
    """It ends together with the app each time, and never comes further."""
    run = bench.submit()
    for _ in range(3):
        bench.look()
        assert bench.place.started[-1].run.run_id == run.run_id
        bench.place.started[-1].ends()
        bench = bench.killed()
    bench.look()
    assert bench.state(run) == "failed" and bench.place.started == [] and "3 times" in bench.jobs.view(run.run_id).message


def on_an_empty_disk(bench: Bench, bucket: Path) -> Bench:
    """The whole machine goes down, and the app is started on another with what was kept in the bucket."""
    Keeper(bench.jobs.store, Place(bucket)).look(everything=True)
    for worker in bench.place.at_work:
        worker.ends()
    bench.jobs.index.close()
    shutil.rmtree(bench.home)
    restored(RunStore(bench.home), Place(bucket))
    return Bench(bench.home)


@pytest.mark.parametrize("reached", [{"phase": "loading"}, {"phase": "training", "step": 5}])
def test_a_run_that_takes_the_machine_and_its_disk_along_is_tried_three_times(bench, tmp_path_factory, reached):
    bucket, run = tmp_path_factory.mktemp("bucket"), bench.submit()
    for attempt in (1, 2, 3):
        bench.look()
        assert bench.jobs.view(run.run_id).attempt == attempt
        bench.place.started[-1].says(**reached)
        bench = on_an_empty_disk(bench, bucket)
    bench.look()
    view = bench.jobs.view(run.run_id)
    assert view.state == "failed" and bench.place.started == [] and "3 times" in view.message and "together with the lab" in view.message
    bench.jobs.resume("local", run.run_id)
    bench.look()
    assert bench.jobs.view(run.run_id).attempt == 1 and len(bench.place.started) == 1


def test_a_run_that_saves_more_each_time_outlives_any_number_of_disks(bench, tmp_path_factory):
    bucket, run = tmp_path_factory.mktemp("bucket"), bench.submit()
    for step in range(10, 60, 10):
        bench.look()
        bench.place.started[-1].says(phase="training", step=step + 3, resumed_from=step - 10)
        (run.checkpoints / f"step-{step:08d}").mkdir(parents=True)
        (run.checkpoints / f"step-{step:08d}" / "manifest.json").write_text("{}")
        bench = on_an_empty_disk(bench, bucket)
    bench.look()
    assert bench.state(run) == "running" and bench.jobs.view(run.run_id).attempt == 1


def test_a_run_that_ended_while_no_app_watched_is_believed(bench):
    run = bench.submit()
    bench.look()
    bench.place.started[0].ends("succeeded")
    again = bench.killed()
    assert again.state(run) == "succeeded" and again.job(run) == "" and run.owed_since is None


@pytest.mark.parametrize("kind", [FakeWorker, StubbornWorker])
def test_a_graceful_end_queues_what_was_at_work(tmp_path, kind, monkeypatch):
    """Also where a worker takes longer to save than the app may wait: the next app finds it at work, and lets it go on afterwards."""
    monkeypatch.setattr("lorasae.jobs.scheduler._CLOSE_S", 0.2)
    bench = Bench(tmp_path, kind=kind)
    run, waiting = bench.submit(), bench.submit()
    bench.look()
    (worker,) = bench.place.started
    worker.says(phase="training", step=5)
    bench.jobs.close()
    assert worker.asked
    again = bench.killed()
    if kind is StubbornWorker:
        assert again.state(run) == "running"
        worker.ends("interrupted", "Stopped after step 5")
        again.look()
    assert again.jobs.view(run.run_id).message == "The lab was restarted; the run goes on"
    again.look()
    assert again.state(run) == "running" and again.state(waiting) == "queued" and again.jobs.view(run.run_id).attempt == 1


def test_a_lost_index_is_built_again_from_the_folders(bench):
    """Whose runs they are, what waits and in which order, and who is at work."""
    running, finished, *waiting = [bench.submit(owner) for owner in ("visitor-a", "visitor-b", "visitor-a", "visitor-b", "visitor-b")]
    bench.look()
    worker = bench.place.started[0]
    bench.jobs.stop(finished.run_id)
    bench.jobs.index.close()
    (bench.home / "index.sqlite3").write_bytes(b"no database" * 1000)
    again = Bench(bench.home)
    assert again.jobs.index.damaged.exists()
    assert [again.state(run) for run in (running, finished, *waiting)] == ["running", "interrupted", "queued", "queued", "queued"]
    assert {row.run_id for row in again.jobs.runs_of("visitor-a")} == {running.run_id, waiting[0].run_id}
    places = [again.jobs.index.row(run.run_id).place for run in waiting]
    assert places == sorted(places)
    again.look()
    assert again.place.started == []  # the device is in use
    worker.ends("succeeded")
    again.look()
    assert again.state(running) == "succeeded" and len(again.place.started) == 1


def test_a_damaged_run_folder_does_not_keep_the_lab_from_starting(bench):
    run = bench.submit()
    (run.folder / "about.json").write_text("{")
    nameless, other = bench.submit(), bench.submit()
    (nameless.folder / "about.json").write_text("{}")
    (other.folder / "config.json").write_text("\x00")
    again = bench.killed()
    again.look()
    index = bench.home / "index.sqlite3"
    again.jobs.index.close()
    index.unlink()
    last = Bench(bench.home)
    last.look()
    assert last.jobs.index.known() == {other.run_id}  # its settings are lost, but not whose it is


def test_what_a_crash_left_of_creating_and_deleting_is_cleared_away(bench):
    (bench.jobs.store.root / ".gone-20261124-000000-0123456789abcdef").mkdir(parents=True)
    (bench.jobs.store.root / ".new-20261124-000000-0123456789abcdef").mkdir()
    os.utime(bench.jobs.store.root / ".new-20261124-000000-0123456789abcdef", (0, 0))
    bench.killed()
    assert list(bench.jobs.store.root.iterdir()) == []


# Runs from a terminal in the same home


def test_runs_from_a_terminal_show_up(bench):
    assert bench.jobs.runs_of("local") == []
    run = bench.jobs.store.create(RunConfig(name="typed"))
    (run.folder / "about.json").unlink()  # as older versions made them
    assert [(row.run_id, row.name) for row in bench.jobs.runs_of("local")] == [(run.run_id, "typed")]
    bench.look()
    assert bench.place.started == []


def test_a_run_at_work_in_a_terminal_is_watched_stopped_and_left_its_device(bench):
    run = bench.jobs.store.create(RunConfig())
    with run.claimed():
        run.write_status(replace(run.told, state="running", phase="training", step=3, pid=os.getpid()))
        assert bench.state(run) == "running" and bench.jobs.view(run.run_id).step == 3
        bench.jobs.stop(run.run_id)
        assert run.stop_wish == "keep" and bench.state(run) == "stopping"


def test_a_waiting_run_that_is_taken_up_in_a_terminal_is_not_started_twice(bench):
    run, other = bench.submit(), bench.submit()
    with run.claimed():
        bench.look()
        assert [worker.run.run_id for worker in bench.place.started] == [other.run_id]
        run.write_status(replace(run.told, state="succeeded"))
    bench.place.started[0].ends("succeeded")
    bench.look()
    bench.look()
    assert len(bench.place.started) == 1 and bench.state(run) == "succeeded" and bench.job(run) == ""


# The process and what it may see


def test_a_worker_sees_nothing_secret():
    environment = {
        "PATH": "/bin", "HOME": "/home/ada", "LANG": "C", "LC_ALL": "C", "HF_HOME": "/hf", "HF_HUB_OFFLINE": "1", "CUDA_HOME": "/cuda",
        "HF_TOKEN": "hf_canary", "HF_HUB_TOKEN": "hf_canary", "HUGGING_FACE_HUB_TOKEN": "hf_canary", "HF_TOKEN_PATH": "/canary",
        "OAUTH_CLIENT_SECRET": "canary", "OAUTH_CLIENT_ID": "canary", "SPACE_ID": "canary", "AWS_SECRET_ACCESS_KEY": "canary",
        "CUDA_SECRET": "canary", "LORASAE_CLAIM": "9", "DATABASE_URL": "canary", "PYTHONSTARTUP": "canary",
    }  # fmt: skip
    seen = worker_environment(environment, "1")
    assert "canary" not in json.dumps(seen) and "LORASAE_CLAIM" not in seen
    assert seen["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1" and seen["CUDA_VISIBLE_DEVICES"] == "1" and seen["OMP_WAIT_POLICY"] == "passive"
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "HF_HOME", "HF_HUB_OFFLINE", "CUDA_HOME")
    assert {name: seen[name] for name in kept} == {name: environment[name] for name in kept}


def test_devices_are_counted_without_torch(tmp_path):
    assert devices({}, tmp_path) == ("",)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert devices({}, tmp_path) == ("0", "1")
    assert devices({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, tmp_path) == ("GPU-a", "GPU-b")
    assert devices({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path) == devices({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == ("",)


def test_the_app_s_side_of_the_jobs_does_not_know_torch():
    heavy = "{'torch', 'transformers', 'peft', 'sae_lens', 'gradio'}"
    script = f"import sys, lorasae.lab; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert out.stdout.strip() == "[]"
