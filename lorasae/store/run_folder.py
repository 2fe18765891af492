"""A run is a folder, and this file is the only one that knows what lies where in it.

config.json      format, id, when, versions, and the RunConfig: enough to do it again
about.json       whose it is, its name, whether it is shared; absent in runs started in a terminal
way.json         how its steps are computed (lorasae/training/way.py)
commits.json     the commits on the Hub that it was begun with (lorasae/store/commit_record.py)
status.json      what the run is doing now; replaced atomically by the process at work on it
metrics.jsonl    one row per step and per evaluation, appended
pins.json        the features recorded at every evaluation, and the text they are recorded on
replay.jsonl     what they did there, one frame per evaluation (lorasae/store/replay.py)
run.log          phases, and whatever the process had to say
stop             a wish: `keep` (end early, measure and save) or `pause`
queued           the lab owes this run work: it is waiting, or its process is at work (lorasae/jobs/jobs.py); since when, and the attempt
lock             held by the process at work, for as long as it lives
checkpoints/     where it can be taken up again (lorasae/store/checkpoints.py)
start/           the adapter that it began with, and from.json about it, if it did not begin afresh (lorasae/store/started_from.py)
heldout.npy      the held-out tokens, so that anyone can measure on the same text
before.npz       what no adapter changes, measured on it once (lorasae/training/known_before.py)
part.json        which of them the short evaluations during training use (lorasae/training/heldout_part.py)
adapter/         the adapter in PEFT format
published.json   where it was published last, and what was measured there (lorasae/publishing/publish.py)
origin.json      the repository it was opened from (lorasae/publishing/reopen.py)
lorasae.json     the result: everything needed to use, verify and reproduce the adapter
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorasae.config import FORMAT, RunConfig, run_config
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER
from lorasae.sources.catalog import ASSETS
from lorasae.store.claims import Claim, claim, is_claimed
from lorasae.store.durable import json_lines, replace_file, write_json
from lorasae.store.run_records import (
    About,
    Pins,
    Status,
    Wish,
    about_from,
    checked_name,
    pins_from,
    pins_to_json,
    read_record,
    status_from,
)

EXAMPLE_ID = "example"
EXAMPLE_OWNER = "example"
EXAMPLE_FOLDER = ASSETS / "demo" / "run"
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6,32}")


class Run:
    """One run folder."""

    def __init__(self, folder: Path, run_id: str = "") -> None:
        """`run_id`: of a folder that does not lie under its own name yet."""
        self.folder = folder.resolve()
        self._run_id = run_id or self.folder.name
        self.checkpoints = self.folder / "checkpoints"
        self.adapter = self.folder / "adapter"
        self.heldout = self.folder / "heldout.npy"
        self.part_file = self.folder / "part.json"
        self.before_file = self.folder / "before.npz"
        self.log = self.folder / "run.log"
        self.replay = self.folder / "replay.jsonl"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.status_file = self.folder / "status.json"
        self.commits_file = self.folder / "commits.json"
        self.way_file = self.folder / "way.json"
        self._wish, self._owed = self.folder / "stop", self.folder / "queued"

    @property
    def run_id(self) -> str:
        return EXAMPLE_ID if self.read_only else self._run_id

    @property
    def read_only(self) -> bool:
        """The example: to be looked at, by everybody."""
        return self.folder == EXAMPLE_FOLDER.resolve()

    @property
    def config(self) -> RunConfig:
        """The settings the run was created with.

        Raises:
            LabError: If the folder is no run, is damaged, or was written by a newer version.
        """
        return run_config(read_record(self.folder, "config.json")["config"])

    @property
    def described(self) -> dict[str, Any]:
        """All of config.json: when the run was created, with which versions, and its settings."""
        return read_record(self.folder, "config.json")

    @property
    def about(self) -> About:
        """Whose the run is. One that was started in a terminal belongs to the machine's own user."""
        if self.read_only:
            return About(EXAMPLE_OWNER, str(self.described["config"].get("name", "")), True, str(self.described.get("created", "")))
        if (self.folder / "about.json").exists():
            return about_from(read_record(self.folder, "about.json"))
        described = self.described
        return About(LOCAL_OWNER, str(described["config"].get("name", "")), False, str(described.get("created", "")))

    def write_about(self, **changes: Any) -> About:
        """Change what is said about the run, e.g. its name."""
        self._refuse_if_read_only()
        if "name" in changes:
            changes["name"] = checked_name(changes["name"])
        about = replace(self.about, **changes)
        write_json(self.folder / "about.json", asdict(about))
        return about

    @property
    def pins(self) -> Pins:
        """What is recorded at every evaluation."""
        return pins_from(read_record(self.folder, "pins.json")) if (self.folder / "pins.json").exists() else Pins()

    def write_pins(self, pins: Pins) -> None:
        """Record these from the next evaluation on."""
        self._refuse_if_read_only()
        write_json(self.folder / "pins.json", pins_to_json(pins_from(pins_to_json(pins))))

    # What it is doing

    @property
    def status(self) -> Status:
        """What the run is doing; a run whose process is gone without a word is interrupted."""
        status = self.told
        if status.state == "running" and not self.is_claimed and not (_is_alive(status.pid) and not self._has_been_claimed):
            return replace(status, state="interrupted", message="Its process ended without a word", pid=None, eta_s=None)
        return status

    @property
    def told(self) -> Status:
        """What the last process to work on it said, whether it lives or not."""
        return status_from(read_record(self.folder, "status.json")) if self.status_file.exists() else Status()

    def write_status(self, status: Status) -> None:
        write_json(self.status_file, {**asdict(status), "updated": now()})

    @property
    def stop_wish(self) -> Wish | None:
        """What was wished for the run under way, and not fulfilled yet."""
        try:
            wish = self._wish.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return wish if wish in ("keep", "pause") else None

    def wish_stop(self, wish: Wish) -> None:
        """Ask the process at work to end early: `keep` measures and saves what there is, `pause` only interrupts."""
        self._refuse_if_read_only()
        replace_file(self._wish, wish.encode())

    def forget_wish(self) -> None:
        """The wish was fulfilled, or is no longer wished."""
        self._wish.unlink(missing_ok=True)

    @property
    def owed_since(self) -> str | None:
        """Since when the lab owes this run work; None if it does not."""
        try:
            return next(iter(self._owed.read_text(encoding="ascii").split()), "?")
        except FileNotFoundError:
            return None

    @property
    def attempt(self) -> int:
        """How often a process was started for the work that the lab owes; here, so that it outlives the index."""
        words = self._owed.read_text(encoding="ascii").split() if self.owed_since is not None else []
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0

    def owe(self) -> None:
        """The lab owes this run work, whatever happens to the lab."""
        replace_file(self._owed, datetime.now(UTC).isoformat().encode())

    def note_attempt(self, attempt: int) -> None:
        """So often a process was started for it; nothing happens if the lab owes it nothing."""
        if (since := self.owed_since) is not None:
            replace_file(self._owed, f"{since} {attempt}".encode())

    def settle(self) -> None:
        """The lab owes this run nothing any more."""
        self._owed.unlink(missing_ok=True)

    def append_log(self, line: str) -> None:
        """One line for whoever reads the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")

    @property
    def saved_step(self) -> int:
        """The step of the newest sealed checkpoint; 0 without one."""
        return max((int(seal.parent.name[5:]) for seal in self.checkpoints.glob("step-????????/manifest.json")), default=0)

    # Who is at work on it

    def claim(self) -> Claim:
        """Take the run for this process; the claim ends with `close`, or with the last process that holds it.

        Raises:
            LabError: If another process has it.
        """
        taken = claim(self.folder / "lock")
        if taken is None:
            found = f"Another process is at work on it (pid {self.told.pid})"
            raise LabError(f"The run {self.folder} was to go on", found, "Wait for it, or stop it first")
        return taken

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """One process at a time works on a run; the claim ends with the process, however it ends.

        Raises:
            LabError: If another process has it.
        """
        with self.claim():
            yield

    @property
    def is_claimed(self) -> bool:
        """Whether a process is at work on it: the lock knows, whatever the status says."""
        return is_claimed(self.folder / "lock")

    @property
    def _has_been_claimed(self) -> bool:
        return (self.folder / "lock").exists()

    # What came of it

    @property
    def result(self) -> dict[str, Any]:
        """lorasae.json of a run that succeeded, or was stopped and kept."""
        if not self.has_result:
            raise LabError(
                f"The result of the run {self.folder} was asked for",
                f"It has none yet: the run is {self.status.state} at step {self.status.step}",
                f"Finish it first: python -m lorasae adapt --resume {self.folder}",
            )
        return read_record(self.folder, "lorasae.json")

    @property
    def has_result(self) -> bool:
        return (self.folder / "lorasae.json").exists()

    def write_result(self, result: dict[str, Any]) -> None:
        write_json(self.folder / "lorasae.json", {"format": FORMAT, "run_id": self.run_id, **result})

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one row; a reader sees whole rows only."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """All rows, oldest first. A row cut off by a crash or damaged since is left out."""
        yield from json_lines(self.metrics_file)

    def forget_metrics_after(self, step: int) -> None:
        """Drop the rows that a resumed run will write again, and a torn last row."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        replace_file(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise LabError("The example run was to be changed", "It is there to be looked at", "Start a run of your own: duplicate it")


def example() -> Run | None:
    """The finished run that comes with the lab, if it is there."""
    return Run(EXAMPLE_FOLDER) if (EXAMPLE_FOLDER / "config.json").is_file() else None


def now() -> str:
    """The time as it is recorded: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
