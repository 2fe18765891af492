"""An app in a process of its own, with real workers, on the tiny world; whatever a test leaves behind is ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lorasae.config import RunConfig
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from lorasae.training.recipe import adapt
from tests.tiny_world import tiny_run

ROOT = Path(__file__).parents[2]
LIMIT_S = 240.0  # a worker takes seconds to import torch, more on a busy machine


def until(happened: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait for it."""
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def workers_of(home: Path) -> list[int]:
    """Processes at work on runs of this home, whoever started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            command = path.read_bytes().split(b"\0")
            if b"lorasae.training.recipe" in command and any(str(home).encode() in part for part in command):
                found.append(int(path.parent.name))
    return found


class App:
    """Starts, kills and starts again."""

    def __init__(self, home: Path) -> None:
        self.home, self.store = home, RunStore(home)
        self.process: subprocess.Popen[str] | None = None

    def start(self, *configs: RunConfig, **environment: str) -> list[Run]:
        """The app, serving; the runs it was given."""
        files = []
        for number, config in enumerate(configs):
            files.append(self.home / f"config-{number}.json")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            files[-1].write_text(json.dumps(config.model_dump(mode="json")))
        command = [sys.executable, "-m", "tests.faults.app_process", str(self.home), *map(str, files)]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        said = iter(self.process.stdout.readline, "")
        lines = []
        for line in said:
            lines.append(line.strip())
            if line.strip() == "serving":
                break
        assert lines and lines[-1] == "serving", lines
        return [self.store.open_id(run_id) for run_id in lines[:-1]]

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def end(self) -> float:
        """SIGTERM; returns how long it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        return time.monotonic() - started


@pytest.fixture
def app(tmp_path) -> Iterator[App]:
    app = App(tmp_path / "home")
    yield app
    if app.process and app.process.poll() is None:
        app.kill()
    for pid in workers_of(app.home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def config(world) -> RunConfig:
    """Long enough to be hit in the middle: steps take milliseconds."""
    return tiny_run(world, train={"tokens": 120 * 64}, watch={"evaluations": 3, "checkpoint_every_steps": 10})


@pytest.fixture(scope="session")
def expected(config, tmp_path_factory) -> bytes:
    """The adapter of the run that nobody disturbs."""
    run = RunStore(tmp_path_factory.mktemp("undisturbed")).create(config)
    adapt(run)
    return adapter_bytes(run)


def adapter_bytes(run: Run) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


def check_whole(run: Run, expected: bytes) -> None:
    """Finished, as if nothing had happened: the same bits, each step once."""
    assert run.status.state == "succeeded", run.status.message
    assert adapter_bytes(run) == expected
    steps = [row["step"] for row in run.metrics()]
    assert steps == list(range(121))
