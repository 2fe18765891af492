"""Runs are copied out while they change and brought back into a new home: whole, as theirs, and without anybody waiting for it."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import pytest

from lorasae.config import run_config
from lorasae.identity import LOCAL_OWNER
from lorasae.keeping.copying import PART, copy_file, files_of
from lorasae.keeping.keeper import Keeper
from lorasae.keeping.place import Place, keeping_place
from lorasae.keeping.restoring import restored
from lorasae.lab import open_lab
from lorasae.settings import LabSettings, settings_from
from lorasae.store.run_folder import Run
from lorasae.store.run_index import RunIndex
from lorasae.store.runs import RunStore
from tests.hub.client import contents

ROOT = Path(__file__).parents[1]
VISITOR = "visitor-0123456789abcdef01234567"


class Bench:
    """A home and a place; the test says when the keeper looks, and what time it is."""

    def __init__(self, root: Path, name: str = "home") -> None:
        self.now, self.place = 0.0, Place(root / "bucket")
        self.store = RunStore(root / name)
        self.keeper = Keeper(self.store, self.place, lambda: self.now)

    def run(self, owner: str = VISITOR, name: str = "mine") -> Run:
        run = self.store.create(run_config({"name": name}), owner, owed=True)
        run.append_metrics({"step": 0, "kl": 1.0})
        return run

    def look(self, later: float = 2.0, everything: bool = False) -> None:
        self.now += later
        self.keeper.look(everything)

    def kept(self, run: Run) -> dict[str, bytes]:
        return contents(self.place.folder / "runs" / run.run_id)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def checkpoint(run: Run, step: int, content: bytes = b"weights") -> None:
    folder = run.checkpoints / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(content)
    (folder / "manifest.json").write_text("{}")


# Where


def test_on_a_space_the_bucket_is_found_by_its_mount_and_elsewhere_by_the_setting(tmp_path):
    space = {"SYSTEM": "spaces", "SPACE_ID": "alice/lab"}
    mounted, bare = (lambda _: True), (lambda _: False)
    assert keeping_place(space, tmp_path, mounted) == Place(tmp_path / "lorasae", tmp_path)
    assert keeping_place(space, tmp_path, bare) is None
    assert keeping_place({}, tmp_path, mounted) is None  # somebody's own disk at /data is not ours to write to
    named = {"LORASAE_KEEP": "/elsewhere/runs"}
    assert keeping_place({**space, **named}, tmp_path, lambda path: path == Path("/elsewhere")) == Place(Path("/elsewhere/runs"))
    assert keeping_place({**space, **named}, tmp_path, lambda path: path == Path("/")) == Place(Path("/elsewhere/runs"), is_doubtful=True)
    assert keeping_place(named, tmp_path, bare) == Place(Path("/elsewhere/runs"))
    assert keeping_place(space, tmp_path / "missing", mounted) is None
    assert list(tmp_path.iterdir()) == []


def test_a_mount_that_hangs_when_it_is_looked_for_keeps_no_app_from_starting(tmp_path, monkeypatch):
    monkeypatch.setattr("lorasae.keeping.place.PATIENCE_S", 0.05)
    answers = threading.Event()
    hanging = lambda _: answers.wait(30)  # noqa: E731
    began = time.monotonic()
    assert keeping_place({"SYSTEM": "spaces"}, tmp_path, hanging) == Place(tmp_path / "lorasae", tmp_path)
    assert keeping_place({"SYSTEM": "spaces", "LORASAE_KEEP": "/elsewhere"}, tmp_path, hanging) == Place(Path("/elsewhere"))
    assert time.monotonic() - began < 5
    answers.set()


def test_the_settings_of_a_space_say_that_it_is_one():
    settings = settings_from({"SYSTEM": "spaces", "SPACE_ID": "alice/lab", "SPACE_HOST": "alice-lab.hf.space"})
    assert (settings.space, settings.zero_gpu, settings.host, settings.port) == ("alice/lab", False, "0.0.0.0", 7860)
    assert settings_from({}).space == "" and settings_from({}).keep is None


# Out


def test_a_run_is_copied_out_and_follows_its_changes(bench):
    run = bench.run()
    bench.look()
    assert bench.kept(run) == contents(run.folder)
    run.write_about(name="another")
    checkpoint(run, 10)
    bench.look()
    assert bench.kept(run) == contents(run.folder)
    shutil.rmtree(run.checkpoints / "step-00000010")
    checkpoint(run, 20)
    run.settle()
    bench.look()
    assert bench.kept(run) == contents(run.folder)
    assert not (bench.place.folder / "runs" / run.run_id / "checkpoints" / "step-00000010").exists()


def test_files_that_grow_with_every_step_are_copied_once_a_minute(bench):
    run = bench.run()
    bench.look()
    run.append_metrics({"step": 1, "kl": 0.5})
    bench.look(2)
    assert bench.kept(run)["metrics.jsonl"].count(b"\n") == 1
    bench.look(60)
    assert bench.kept(run)["metrics.jsonl"].count(b"\n") == 2
    run.append_metrics({"step": 2, "kl": 0.4})
    checkpoint(run, 2)  # with a checkpoint come the measurements that lead up to it
    bench.look(2)
    assert bench.kept(run)["metrics.jsonl"].count(b"\n") == 3


def test_what_is_being_written_and_what_is_of_this_machine_stays_here(bench):
    run = bench.run()
    with run.claim():
        (run.checkpoints / "step-00000010.tmp").mkdir(parents=True)
        (run.checkpoints / "step-00000010.tmp" / "adapter.safetensors").write_bytes(b"half")
        (run.folder / "status.json.tmp").write_bytes(b"half")
        bench.look()
    assert {"lock", "status.json.tmp"}.isdisjoint(bench.kept(run)) and not any("step" in name for name in bench.kept(run))


def test_a_run_that_is_removed_is_removed_there_and_what_others_put_there_stays(bench):
    run, other = bench.run(), bench.place.folder / "runs" / "20260101-000000-abcdef"
    other.mkdir(parents=True)
    (other / "config.json").write_text("{}")
    bench.look()
    bench.store.remove(run)
    bench.look()
    assert [path.name for path in (bench.place.folder / "runs").iterdir()] == [other.name]


def test_uploads_that_runs_need_are_kept_too(bench):
    upload = bench.store.home / "uploads" / VISITOR / "text.0123456789abcdef.txt"
    upload.parent.mkdir(parents=True)
    upload.write_text("some text")
    bench.look()
    assert contents(bench.place.folder / "uploads") == {f"{VISITOR}/text.0123456789abcdef.txt": b"some text"}
    upload.unlink()
    bench.look()
    assert contents(bench.place.folder / "uploads") == {}


def test_a_run_at_rest_is_not_looked_through_again(bench, monkeypatch):
    run = bench.run()
    run.settle()
    bench.look()
    bench.look(61)
    looked = []
    monkeypatch.setattr("lorasae.keeping.keeper.files_of", lambda folder: looked.append(folder) or files_of(folder))
    bench.look()
    assert run.folder not in looked
    run.write_about(name="renamed")
    bench.look()
    assert b"renamed" in bench.kept(run)["about.json"]


# Back


def test_a_new_home_gets_its_runs_back_with_their_owners_and_their_work(bench, tmp_path):
    run = bench.run()
    checkpoint(run, 10)
    bench.look()
    again = Bench(tmp_path, "new")
    restored(again.store, again.place)
    (back,) = again.store.all()
    assert contents(back.folder) == {**contents(run.folder), "lock": b""}
    assert (back.run_id, back.about, back.owed_since) == (run.run_id, run.about, run.owed_since)
    with open_lab(lab_settings(again)) as lab:
        assert [row.run_id for row in lab.index.of_owner(VISITOR)] == [run.run_id]


def test_a_run_that_was_at_work_comes_back_interrupted_whatever_pid_it_had(bench, tmp_path):
    from lorasae.store.run_records import Status

    run = bench.run()
    run.settle()
    run.write_status(Status("running", "training", step=5, n_steps=9, pid=os.getpid()))
    bench.look()
    again = Bench(tmp_path, "new")
    restored(again.store, again.place)
    assert again.store.all()[0].status.state == "interrupted"


def test_a_home_that_was_there_before_gets_nothing_and_what_was_deleted_stays_deleted(bench):
    run, other = bench.run(), bench.run()
    keeper = restored(bench.store, bench.place)
    keeper.look()
    bench.store.remove(run)  # and the app ends before anybody looked
    assert restored(bench.store, bench.place).problems() == []
    assert [each.run_id for each in bench.store.all()] == [other.run_id]


def test_a_place_that_hangs_at_the_start_is_not_waited_for_and_fills_no_home_later(bench, tmp_path, monkeypatch, capfd):
    run = bench.run()
    bench.look(everything=True)
    hangs, free = threading.Event(), threading.Event()

    def hanging(source: Path, target: Path) -> None:
        hangs.set()
        free.wait(30)
        copy_file(source, target)

    monkeypatch.setattr("lorasae.keeping.restoring.copy_file", hanging)
    monkeypatch.setattr("lorasae.keeping.restoring._SILENT_S", 0.3)
    store, started = RunStore(tmp_path / "other"), time.monotonic()
    keeper = restored(store, bench.place)
    assert hangs.is_set() and time.monotonic() - started < 10
    assert "it has not answered for" in keeper.problems()[0] and keeper.problems()[0] in capfd.readouterr().err
    late = next(each for each in threading.enumerate() if each.name == "restoring")
    free.set()
    late.join(10)
    assert not late.is_alive() and not list(store.all())
    monkeypatch.undo()
    assert restored(store, bench.place).problems() == [] and [each.run_id for each in store.all()] == [run.run_id]


def test_a_restoring_that_was_cut_off_goes_on_at_the_next_start(bench, tmp_path, monkeypatch):
    runs = [bench.run(name=str(n)) for n in range(3)]
    bench.look()
    again, n_copied = Bench(tmp_path, "new"), 0

    def copied(source: Path, target: Path) -> None:
        nonlocal n_copied
        n_copied += 1
        if n_copied == 7:
            raise OSError(errno.EIO, "Input/output error")
        copy_file(source, target)

    monkeypatch.setattr("lorasae.keeping.restoring.copy_file", copied)
    keeper = restored(again.store, again.place)
    assert "are missing here: it could not be read (input/output error). Restart" in keeper.problems()[0]
    assert 0 < len(again.store.all()) < 3
    keeper.look(everything=True)  # it goes on copying, and removes nothing that it does not have
    assert len(list((bench.place.folder / "runs").iterdir())) == 3
    assert restored(again.store, again.place).problems() == []
    assert {each.run_id for each in again.store.all()} == {run.run_id for run in runs}


def test_an_app_that_is_started_again_lets_go_of_what_went_while_nobody_looked(bench, tmp_path):
    run = bench.run()
    checkpoint(run, 10)
    restored(bench.store, bench.place).look()
    shutil.rmtree(run.checkpoints)
    checkpoint(run, 20)
    again = restored(RunStore(bench.store.home), bench.place)
    again.look(everything=True)
    assert {name for name in bench.kept(run) if name.startswith("checkpoints")} == {
        "checkpoints/step-00000020/adapter.safetensors",
        "checkpoints/step-00000020/manifest.json",
    }


def test_what_another_copy_of_the_app_left_in_a_run_goes_with_the_next_checkpoint(bench):
    """While a new version of a Space starts, the old one may still be at work on the same run."""
    run = bench.run()
    checkpoint(run, 10)
    bench.look()
    checkpoint(Run(bench.place.folder / "runs" / run.run_id), 60)
    checkpoint(run, 20)
    bench.look()
    assert bench.kept(run) == contents(run.folder)


# When things go wrong


def processes_that_copy(root: Path) -> Iterator[Callable[[], None]]:
    """How each is killed, one after the other. They are forked from a process that has imported what they need."""
    code = """
import itertools, os, shutil, sys
from pathlib import Path
from tests.test_keeping import Bench, checkpoint

def copy_for_ever():
    bench = Bench(Path(sys.argv[1]))
    (run,) = bench.store.all() or [bench.run()]
    first = 1 + max((row["step"] for row in run.metrics()), default=0)
    print(os.getpid(), flush=True)
    for step in itertools.count(first):
        run.append_metrics({"step": step, "kl": 1.0})
        checkpoint(run, step, str(step).encode() * 50_000)
        for old in sorted(run.checkpoints.glob("step-*"))[:-2]:
            shutil.rmtree(old)
        run.write_about(name=str(step) * 60)
        bench.look(61)

while True:
    if process := os.fork():
        os.waitpid(process, 0)
        print("ended", flush=True)
        sys.stdin.readline()
    else:
        copy_for_ever()
"""
    command = [sys.executable, "-c", code, str(root)]
    first = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert first.stdin and first.stdout
    try:
        while True:
            copying = int(first.stdout.readline())

            def kill(process: int = copying, ended: TextIO = first.stdout) -> None:
                os.kill(process, signal.SIGKILL)
                assert ended.readline() == "ended\n"

            yield kill
            first.stdin.write("another\n")
            first.stdin.flush()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def until(happened: Callable[[], object], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def newest_in(place: Path) -> int:
    """The step of the newest whole checkpoint that was copied."""
    return max((int(manifest.parent.name[5:]) for manifest in place.glob("runs/*/checkpoints/*/manifest.json")), default=0)


def test_a_kill_at_any_instant_of_copying_leaves_a_run_that_can_be_taken_up(tmp_path):
    """A process copies a run that changes all the time, and is killed with kill -9 at twelve instants; what lies in the place is
    restored each time: no file is torn, and the measurements reach as far as the newest whole checkpoint."""
    seen = {0}
    for number, kill in enumerate(islice(processes_that_copy(tmp_path), 12)):
        if number % 2:  # every second one gets on, however busy the machine is
            until(lambda: newest_in(tmp_path / "bucket") > max(seen))
        time.sleep(0.002 + 0.004 * (number % 10))
        kill()
        again = Bench(tmp_path, f"new-{number}")
        assert restored(again.store, again.place).problems() == []
        for run in again.store.all():
            assert run.about.owner == VISITOR and run.config.name == "mine"
            whole = [folder for folder in run.checkpoints.glob("step-*") if len(list(folder.iterdir())) == 2]
            newest = max((int(folder.name[5:]) for folder in whole), default=0)
            for folder in whole:
                assert (folder / "adapter.safetensors").read_bytes() == str(int(folder.name[5:])).encode() * 50_000
            assert not whole or [row["step"] for row in run.metrics()][: newest + 1] == list(range(newest + 1))
            seen.add(newest)
    assert len(seen) > 3, seen


@pytest.fixture
def small_disk(tmp_path):
    """Two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_bucket_is_told_in_a_sentence_and_keeps_what_it_had(bench, small_disk):
    bench.keeper.place = bench.place = Place(small_disk / "lorasae", small_disk)
    run = bench.run()
    checkpoint(run, 10, b"1" * 900_000)
    bench.look()
    before = bench.kept(run)
    checkpoint(run, 20, b"2" * 1_900_000)
    bench.look()
    (problem,) = bench.keeper.problems()
    assert problem.startswith(f"Runs are not being copied to {small_disk}/lorasae: no space left on device.")
    assert bench.kept(run)["checkpoints/step-00000010/adapter.safetensors"] == b"1" * 900_000
    assert set(before) <= set(bench.kept(run)) and not any(name.endswith(PART) for name in bench.kept(run))
    shutil.rmtree(run.checkpoints / "step-00000020")
    bench.look()
    assert bench.keeper.problems() == [] and bench.kept(run) == contents(run.folder)


def test_a_bucket_that_is_gone_is_told_and_nothing_is_written_in_its_stead(bench, tmp_path):
    bench.keeper.place = Place(tmp_path / "data" / "lorasae", tmp_path / "data")
    bench.run()
    bench.look()
    assert "data is not connected any more" in bench.keeper.problems()[0] and not (tmp_path / "data").exists()


def test_a_home_that_is_gone_is_told_and_nothing_is_removed_from_the_bucket(bench):
    run, upload = bench.run(), bench.store.home / "uploads" / VISITOR / "text.txt"
    upload.parent.mkdir(parents=True)
    upload.write_text("some text")
    bench.look()
    before = contents(bench.place.folder)
    away = bench.store.home.rename(bench.store.home.with_name("away"))  # its disk is not mounted any more
    bench.look(everything=True)
    assert contents(bench.place.folder) == before and before
    (problem,) = bench.keeper.problems()
    assert f"{bench.store.root} is not there any more." in problem
    away.rename(bench.store.home)
    run.write_about(name="another")
    bench.look()
    assert bench.keeper.problems() == [] and bench.kept(run) == contents(run.folder)


def test_a_run_whose_folder_goes_between_two_glances_of_a_look_is_not_emptied_file_by_file(bench, monkeypatch):
    run = bench.run()
    bench.look()
    before, ids = bench.kept(run), bench.store.ids()
    run.folder.rename(bench.store.home / "away")
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "ids", lambda: ids)
        bench.look()
    assert bench.kept(run) == before and before
    bench.look()
    assert bench.kept(run) == {}  # it was removed


def test_a_bucket_slower_than_checkpoints_come_holds_a_whole_one_at_every_instant(bench, monkeypatch):
    """While the files of one are copied, it is let go here; each time the look ends without a whole one of those it began with."""
    run = bench.run()
    checkpoint(run, 10)
    bench.look()

    def slowly(source: Path, target: Path) -> None:
        if source.name == "manifest.json":  # of its two files one has arrived
            shutil.rmtree(source.parent)
            checkpoint(run, int(source.parent.name[5:]) + 10)
        copy_file(source, target)

    def whole() -> set[str]:
        there = (bench.place.folder / "runs" / run.run_id / "checkpoints").glob("*/manifest.json")
        return {seal.parent.name for seal in there if len(list(seal.parent.iterdir())) == 2}

    shutil.rmtree(run.checkpoints / "step-00000010")
    checkpoint(run, 20)
    with monkeypatch.context() as patch:
        patch.setattr("lorasae.keeping.keeper.copy_file", slowly)
        for _ in range(3):
            bench.look()
            assert whole() == {"step-00000010"}
    bench.look()
    assert bench.kept(run) == contents(run.folder) and whole() == {"step-00000050"}


def test_a_mount_without_rename_and_fsync_is_written_directly(bench, monkeypatch):
    def cannot(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(Path, "replace", lambda self, target: cannot() if self.name.endswith(PART) else os.replace(self, target))
    monkeypatch.setattr("lorasae.keeping.copying.os.fsync", cannot)
    source = bench.store.home / "file"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"x" * 3_000_000)
    copy_file(source, bench.place.folder / "file")
    assert contents(bench.place.folder) == {"file": b"x" * 3_000_000}


def test_a_bucket_that_does_not_answer_holds_up_nobody(tmp_path, monkeypatch):
    """The copying hangs; runs are submitted, the lab's problems are asked for, and the lab is closed."""
    bench, hangs, free = Bench(tmp_path), threading.Event(), threading.Event()

    def hanging(*_: object) -> None:
        hangs.set()
        free.wait(30)

    monkeypatch.setattr("lorasae.keeping.keeper.copy_file", hanging)
    monkeypatch.setattr("lorasae.keeping.keeper._CLOSE_S", 0.2)
    monkeypatch.setattr("lorasae.jobs.jobs.start_worker", None)
    lab = open_lab(lab_settings(bench))
    lab.jobs.scheduler.devices = ()
    started = time.monotonic()
    with lab:
        lab.jobs.submit(LOCAL_OWNER, run_config({}), "click")
        assert hangs.wait(10)
        assert lab.problems() == []
        clock = time.monotonic() + 121
        lab.keeper._clock = lambda: clock
        assert "it has not answered for 12" in lab.problems()[0]
        closing = time.monotonic()
    assert time.monotonic() - closing < 3 and time.monotonic() - started < 15
    free.set()


def test_the_lab_copies_what_it_has_when_it_is_closed(tmp_path):
    bench = Bench(tmp_path)
    with open_lab(lab_settings(bench)) as lab:
        lab.jobs.scheduler.devices = ()
        run = lab.jobs.submit(LOCAL_OWNER, run_config({}), "click")
    assert bench.kept(run)["config.json"] == (run.folder / "config.json").read_bytes() and "queued" in bench.kept(run)
    assert json.loads((bench.store.home / "kept.json").read_text())["place"] == str(bench.place.folder)
    index = RunIndex(bench.store.home / "index.sqlite3")
    assert index.row(run.run_id).job == "queued"
    index.close()
    assert not list(bench.place.folder.rglob("*.sqlite3"))


def lab_settings(bench: Bench) -> LabSettings:
    return LabSettings(bench.store.home, "local", "127.0.0.1", 7860, ("127.0.0.1",), keep=bench.place)
