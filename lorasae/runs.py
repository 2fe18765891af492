"""The store: a run is a folder, and this file is the only one that knows what lies where in it.

config.json      format, id, when, versions, and the RunConfig: enough to do it again
status.json      what the run is doing now; replaced atomically
metrics.jsonl    one row per step and per evaluation, appended
checkpoints/     where it can be taken up again (lorasae/checkpoints.py)
heldout.npy      the held-out tokens, so that anyone can measure on the same text
adapter/         the adapter in PEFT format
lorasae.json     the result: everything needed to use, verify and reproduce the adapter
"""

import fcntl
import json
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from lorasae.config import FORMAT, RunConfig, run_config
from lorasae.errors import LabError

State = Literal["created", "running", "succeeded", "failed", "interrupted"]
_RECORDED_PACKAGES = ("lorasae", "torch", "transformers", "peft", "sae-lens", "datasets", "numpy", "safetensors")


@dataclass(frozen=True)
class Status:
    """What a run is doing, as the last process to work on it said."""

    state: State = "created"
    phase: str = "waiting"
    step: int = 0
    n_steps: int = 0
    eta_s: float | None = None
    message: str = ""
    pid: int | None = None
    updated: str = ""


class Run:
    """One run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.checkpoints = self.folder / "checkpoints"
        self.adapter = self.folder / "adapter"
        self.heldout = self.folder / "heldout.npy"
        self._metrics = self.folder / "metrics.jsonl"

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def config(self) -> RunConfig:
        """The settings the run was created with.

        Raises:
            LabError: If the folder is no run, is damaged, or was written by a newer version.
        """
        return run_config(self._read("config.json")["config"])

    @property
    def status(self) -> Status:
        """What the run is doing; a run whose process is gone without a word is interrupted."""
        if not (self.folder / "status.json").exists():
            return Status()
        status = Status(**_known_fields(self._read("status.json")))
        if status.state == "running" and not _is_alive(status.pid):
            return replace(status, state="interrupted", message="Its process ended without a word", pid=None)
        return status

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """One process at a time works on a run; the claim ends with the process, however it ends.

        Raises:
            LabError: If another process has it.
        """
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found = f"Another process is at work on it (pid {self.status.pid})"
                raise LabError(f"The run {self.folder} was to go on", found, "Wait for it, or stop it first") from None
            yield

    @property
    def result(self) -> dict[str, Any]:
        """lorasae.json of a run that succeeded."""
        if not (self.folder / "lorasae.json").exists():
            raise LabError(
                f"The result of the run {self.folder} was asked for",
                f"It has none yet: the run is {self.status.state} at step {self.status.step}",
                f"Finish it first: python -m lorasae adapt --resume {self.folder}",
            )
        return self._read("lorasae.json")

    def write_status(self, status: Status) -> None:
        write_json(self.folder / "status.json", {**asdict(status), "updated": now()})

    def write_result(self, result: dict[str, Any]) -> None:
        write_json(self.folder / "lorasae.json", {"format": FORMAT, "run_id": self.run_id, **result})

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one row; a reader sees whole rows only."""
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """All rows, oldest first. A row cut off by a crash or damaged since is left out."""
        if self._metrics.exists():
            with self._metrics.open(encoding="utf-8") as lines:
                for line in lines:
                    try:
                        yield json.loads(line)
                    except json.JSONDecodeError:
                        continue

    def forget_metrics_after(self, step: int) -> None:
        """Drop the rows that a resumed run will write again, and a torn last row."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        replace_file(self._metrics, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"The run {self.folder} was asked for", f"It has no {name}", "Give the folder of a run") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            content = None
        if not isinstance(content, dict) or (name == "config.json" and "config" not in content):
            raise LabError(f"The run {self.folder} was asked for", f"Its {name} is damaged", "Start the run again from its settings")
        if content.get("format", FORMAT) > FORMAT:
            raise LabError(
                f"The run {self.folder} was asked for",
                f"It was written by a newer version (format {content['format']}; this one reads up to {FORMAT})",
                "Update LoRA-SAE Lab",
            )
        return content


class RunStore:
    """The folder in which runs lie."""

    def __init__(self, home: Path) -> None:
        self.root = home / "runs"

    def create(self, config: RunConfig) -> Run:
        """A new run folder, named by time and chance."""
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        folder = self.root / run_id
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            remedy = "Set LORASAE_HOME to a folder that can be written"
            raise LabError(f"A run was to be kept in {folder}", f"The folder cannot be made: {error.strerror}", remedy) from None
        described = {"format": FORMAT, "run_id": run_id, "created": now(), "config": config.model_dump(mode="json"), "versions": versions()}
        write_json(folder / "config.json", described)
        run = Run(folder)
        run.write_status(Status(n_steps=config.n_steps))
        return run

    def open(self, name: str) -> Run:
        """A run by its id or by its folder."""
        folder = Path(name) if Path(name).is_dir() else self.root / name
        if not (folder / "config.json").exists():
            known = sorted(path.parent.name for path in self.root.glob("*/checkpoints"))[-3:]
            raise LabError(f"The run {name} was asked for", "There is no such run", f"The latest runs are: {', '.join(known) or 'none'}")
        return Run(folder)


def home() -> Path:
    """Where runs are kept: LORASAE_HOME, else ~/.lorasae."""
    return Path(os.environ.get("LORASAE_HOME") or "~/.lorasae").expanduser()


def versions() -> dict[str, str]:
    """What a run was made with."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time as it is recorded: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the old content or the new."""
    replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def replace_file(path: Path, content: bytes) -> None:
    """Write so that a crash at any instant leaves the old content or the new, never a part."""
    beside = path.with_name(path.name + ".tmp")
    write_durably(beside, content)
    beside.replace(path)


def write_durably(path: Path, content: bytes) -> None:
    """Write and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


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


def _known_fields(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key in Status.__dataclass_fields__}
