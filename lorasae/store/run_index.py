"""The index of runs: whose they are, and the queue. One SQLite file that only the app opens; it can be built anew from the run folders.

What it holds beyond the folders is the order of the queue, and who had the last turn. A damaged file is set
aside, never deleted, and a new one is filled from the folders.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lorasae.errors import LabError
from lorasae.store.run_records import About

Job = Literal["", "queued", "running"]

_MIGRATIONS = (  # user_version n is the schema after the first n of them; each is applied once, in order, and never edited
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        shared INTEGER NOT NULL,
        hidden INTEGER NOT NULL,
        created TEXT NOT NULL,
        submission TEXT NOT NULL,
        job TEXT NOT NULL DEFAULT '' CHECK (job IN ('', 'queued', 'running')),
        place INTEGER NOT NULL DEFAULT 0,      -- in the queue: lower is earlier
        attempt INTEGER NOT NULL DEFAULT 0,    -- how often a process was started for it since it was asked for
        again INTEGER NOT NULL DEFAULT 0,      -- its process was asked to end for the lab's reasons: it goes on afterwards
        remark TEXT NOT NULL DEFAULT '',       -- what the lab has to say about it
        pid INTEGER,
        device TEXT NOT NULL DEFAULT ''
    );
    CREATE UNIQUE INDEX submissions ON runs (owner, submission) WHERE submission != '';
    CREATE INDEX owners_runs ON runs (owner, created);
    CREATE INDEX jobs ON runs (job, place) WHERE job != '';
    CREATE TABLE turns (owner TEXT PRIMARY KEY, turn INTEGER NOT NULL);  -- the number of the owner's last turn
    """,
)


@dataclass(frozen=True)
class Row:
    """A run as the index knows it."""

    run_id: str
    owner: str
    name: str
    shared: bool
    hidden: bool
    created: str
    submission: str
    job: Job
    place: int
    attempt: int
    again: bool
    remark: str
    pid: int | None
    device: str


class RunIndex:
    """The index, open. Safe to use from several threads; what is read comes from memory, so that no reader waits for the disk."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            LabError: If it cannot be opened or written, or was written by a newer version.
        """
        self.path = path
        self.damaged: Path | None = None  # where a damaged file was put, if there was one
        self._lock = threading.RLock()
        self._rows: Mapping[str, Row] = {}  # replaced, never changed: readers hold no lock
        self._turns: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        with _told(path):
            try:
                self._connection = _opened(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self.damaged = _set_aside(path)
                self._connection = _opened(path)
            self._read()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, run_id: str, about: About, job: Job = "", place: int = 0, attempt: int = 0) -> Row:
        """A run that the index did not know."""
        described = (about.owner, about.name, about.shared, about.hidden, about.created, about.submission)
        row = Row(run_id, *described, job, place, attempt, again=False, remark="", pid=None, device="")
        values = tuple(getattr(row, name) for name in _NAMES)
        with self._changing() as connection:
            connection.execute(f"INSERT INTO runs ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)
            self._rows = {**self._rows, run_id: row}
        return row

    def describe(self, run_id: str, about: About) -> None:
        """What changed about a run in its folder, copied."""
        self.change(run_id, owner=about.owner, name=about.name, shared=about.shared, hidden=about.hidden)

    def change(self, run_id: str, **columns: Any) -> None:
        """Set columns of one run; nothing happens if the index does not know it."""
        if row := self._rows.get(run_id):
            with self._changing() as connection:
                self._write(connection, replace(row, **columns))

    def remove(self, run_id: str) -> None:
        """Forget a run."""
        with self._changing() as connection:
            connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            self._rows = {known: row for known, row in self._rows.items() if known != run_id}

    def start(self, run_id: str, device: str) -> None:
        """The run's process is being started, and its owner has had a turn: both or neither."""
        row, turn = self._rows[run_id], max(self._turns.values(), default=0) + 1
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO turns (owner, turn) VALUES (?, ?)", (row.owner, turn))
            self._turns = {**self._turns, row.owner: turn}
            self._write(connection, replace(row, job="running", again=False, attempt=row.attempt + 1, device=device, pid=None))

    def row(self, run_id: str) -> Row | None:
        """What is known of a run."""
        return self._rows.get(run_id)

    def submitted(self, owner: str, submission: str) -> Row | None:
        """The run that this submission made already."""
        found = (row for row in self._rows.values() if submission and (row.owner, row.submission) == (owner, submission))
        return next(found, None)

    def of_owner(self, owner: str) -> list[Row]:
        """An owner's runs, newest first, without those taken off the list."""
        rows = [row for row in self._rows.values() if row.owner == owner and not row.hidden]
        return sorted(rows, key=lambda row: (row.created, row.run_id), reverse=True)

    def with_job(self, job: Job, owner: str | None = None) -> list[Row]:
        """Runs that wait, or are at work, in the order they came."""
        rows = [row for row in self._rows.values() if row.job == job and owner in (None, row.owner)]
        return sorted(rows, key=lambda row: (row.place, row.run_id))

    def known(self) -> set[str]:
        """The ids of all runs."""
        return set(self._rows)

    def next_place(self) -> int:
        """A place behind everybody who ever waited."""
        return max((row.place for row in self._rows.values()), default=0) + 1

    def turns(self) -> dict[str, int]:
        """The number of each owner's last turn; owners who never had one are not in it."""
        return self._turns

    def _write(self, connection: sqlite3.Connection, row: Row) -> None:
        values = (*(getattr(row, name) for name in _NAMES), row.run_id)
        connection.execute(f"UPDATE runs SET {', '.join(f'{name} = ?' for name in _NAMES)} WHERE run_id = ?", values)
        self._rows = {**self._rows, row.run_id: row}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing, on the disk and in memory.

        Raises:
            LabError: If the disk is full, or the file cannot be written.
        """
        with self._lock, _told(self.path):
            before = self._rows, self._turns
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._rows, self._turns = before
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    def _read(self) -> None:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM runs").fetchall()
        self._rows = {row.run_id: row for row in map(_row, rows)}
        self._turns = dict(self._connection.execute("SELECT owner, turn FROM turns").fetchall())


_NAMES = tuple(Row.__dataclass_fields__)
_COLUMNS = ", ".join(_NAMES)


def _row(values: tuple[Any, ...]) -> Row:
    row = dict(zip(_NAMES, values, strict=True))
    return Row(**{**row, **{name: bool(row[name]) for name in ("shared", "hidden", "again")}})


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to a whole index of this version.

    journal_mode is TRUNCATE, not WAL: SQLite 3.7.0 to 3.51.2 can corrupt a database in WAL mode when a checkpoint meets a reset, and the
    SQLite that Python links is often one of them. One connection behind a lock needs no concurrent readers, and a queue writes little.
    """
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("integrity check failed")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection)
        if not set(_NAMES) <= {name for _, name, *_ in connection.execute("PRAGMA table_info(runs)")}:
            raise sqlite3.DatabaseError("its tables are not those of this version")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > len(_MIGRATIONS):
        raise LabError(
            "The index of runs was to be opened",
            f"It was written by a newer version (schema {found}; this one knows up to {len(_MIGRATIONS)})",
            "Update LoRA-SAE Lab",
        )
    for number, script in enumerate(_MIGRATIONS[found:], found + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")


def _set_aside(path: Path) -> Path:
    """Move a damaged index, with its journal, out of the way: somebody may want to look into it."""
    kept = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    path.rename(kept)
    journal = path.with_name(path.name + "-journal")
    if journal.exists():
        journal.rename(kept.with_name(kept.name + "-journal"))
    return kept


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite has to say, as a sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        full = "full" in str(error)
        found = "The disk is full" if full else f"SQLite says: {error}"
        remedy = "Free some space: runs and their results are safe in their folders" if full else "See that the folder can be written"
        raise LabError(f"The index of runs {path} was to be read or written", found, remedy) from None
    except sqlite3.DatabaseError as error:
        if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):  # a mistake of ours
            raise
        raise LabError(
            f"The index of runs {path} was to be read or written",
            f"It is damaged: {error}",
            "Start the lab again: it builds a new index from the run folders and keeps the damaged file",
        ) from None
