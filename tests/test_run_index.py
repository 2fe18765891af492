"""The index of runs: what is committed is there after any end, and a broken file is set aside rather than believed or deleted."""

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lorasae.errors import LabError
from lorasae.store.run_index import RunIndex
from lorasae.store.run_records import About


def about(owner: str = "ada", name: str = "", submission: str = "", created: str = "2026-11-24T00:00:00+00:00") -> About:
    return About(owner, name, False, created, submission=submission)


@pytest.fixture
def index(tmp_path):
    return RunIndex(tmp_path / "index.sqlite3")


def reopened(index: RunIndex) -> RunIndex:
    index.close()
    return RunIndex(index.path)


def test_what_is_written_is_there_when_it_is_opened_again(index):
    index.add("a", about(name="mine", submission="click"), "queued", 4)
    index.change("a", attempt=2, remark="Interrupted at step 3", again=True)
    index.add("b", about("bob"))
    index.start("a", "1")
    before = index.row("a"), index.row("b"), index.turns()
    index = reopened(index)
    assert (index.row("a"), index.row("b"), index.turns()) == before
    assert index.row("a").job == "running" and index.row("a").attempt == 3 and index.turns() == {"ada": 1}
    assert index.submitted("ada", "click").run_id == "a" and index.submitted("bob", "click") is None


def test_lists_are_of_one_owner_newest_first_and_without_the_hidden(index):
    for day, name in enumerate("abc", 1):
        index.add(name, about(created=f"2026-11-0{day}T00:00:00+00:00"))
    index.add("z", about("bob"))
    index.change("b", hidden=True)
    assert [row.run_id for row in index.of_owner("ada")] == ["c", "a"]
    index.remove("c")
    assert [row.run_id for row in reopened(index).of_owner("ada")] == ["a"]


def test_one_submission_is_one_run_even_if_the_callers_forget_to_ask(index):
    index.add("a", about(submission="click"))
    with pytest.raises(sqlite3.IntegrityError):
        index.add("b", about(submission="click"))
    assert index.known() == {"a"} == reopened(index).known()
    index = RunIndex(index.path)
    index.add("b", about(submission=""))
    index.add("c", about(submission=""))  # a terminal's runs have none


def test_a_transaction_that_fails_changes_neither_the_disk_nor_the_memory(index):
    index.add("a", about())
    with pytest.raises(sqlite3.IntegrityError):
        index.change("a", job="dancing")
    assert index.row("a").job == "" == reopened(index).row("a").job


def test_it_is_not_in_wal_mode_and_waits_for_the_disk(index):
    """The SQLite that Python links may have the WAL race."""
    connection = index._connection
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "truncate"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def pages_overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 2 * 4096] = b"\xff" * 4096
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE runs (id INTEGER); PRAGMA user_version = 1;")
    connection.close()


@pytest.mark.parametrize("damage", [random_bytes, cut_off, pages_overwritten, of_another_program])
def test_a_damaged_file_is_set_aside_and_never_deleted(index, damage):
    for number in range(200):
        index.add(f"run-{number}", about(name="x" * 100))
    index.close()
    damage(index.path)
    content = index.path.read_bytes()
    index = RunIndex(index.path)
    assert index.damaged is not None and index.damaged.read_bytes() == content
    assert index.known() == set()
    index.add("a", about())
    assert reopened(index).known() == {"a"}


def test_an_index_of_a_newer_version_is_refused_and_left_alone(index):
    index.add("a", about())
    index.close()
    connection = sqlite3.connect(index.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    content = index.path.read_bytes()
    with pytest.raises(LabError, match=r"newer version .*Update"):
        RunIndex(index.path)
    assert index.path.read_bytes() == content


def test_a_home_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "index.sqlite3").mkdir()
    with pytest.raises(LabError, match=r"SQLite says: .* can be written"):
        RunIndex(tmp_path / "index.sqlite3")


def test_a_full_disk_is_told_and_costs_nothing_that_was_there(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        index = RunIndex(disk / "index.sqlite3")
        index.add("a", about(), "queued", 1)
        with (disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(bytes(1024))
        with pytest.raises(LabError, match=r"The disk is full.*safe in their folders"):
            for number in range(500):
                index.add(f"run-{number}", about(name="x" * 150))
        assert index.row("a").job == "queued"
        known = index.known()
        (disk / "ballast").unlink()
        index.change("a", job="running")
        index.add("after", about())
        assert reopened(index).known() == known | {"after"}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_process_killed_while_it_writes_leaves_a_whole_index(tmp_path):
    """kill -9 in the middle of whatever it was doing, ten times; every acknowledged row is there."""
    path = tmp_path / "index.sqlite3"
    script = """
        import sys
        from pathlib import Path
        from lorasae.store.run_index import RunIndex
        from lorasae.store.run_records import About
        index = RunIndex(Path(sys.argv[1]))
        while True:
            number = len(index.known())
            index.add(f"run-{number}", About("ada", "x" * 50, False, "", submission=str(number)), "queued", number)
            print(number, flush=True)
    """
    seen = -1
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], text=True
        )
        for _ in range(7):
            seen = int(process.stdout.readline())
        process.kill()
        process.wait()
    index = RunIndex(path)
    assert index.damaged is None and {f"run-{number}" for number in range(seen + 1)} <= index.known()
