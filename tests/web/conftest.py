"""A lab with runs of two visitors, asked over HTTP without a server, or through a real one where time matters."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from lorasae.config import RunConfig
from lorasae.identity import COOKIE, LOCAL_OWNER, visitor_of
from lorasae.lab import Lab, open_lab
from lorasae.settings import LabSettings, settings_from
from lorasae.store import run_folder
from lorasae.store.run_folder import Run
from lorasae.store.run_records import Status
from lorasae.web.app import WebApp, guarded, web_app
from lorasae.web.server import LabServer

PAGES = ("/", "/adapt", "/runs", "/run", "/inspect")
SECRETS = {"A": "a" * 43, "B": "b" * 43}
OWNERS = {"local": LOCAL_OWNER, **{name: visitor_of({COOKIE: secret}) for name, secret in SECRETS.items()}}


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"step": step, "kl_train": 1 / (1 + step), "tokens_per_s": 1000.0 + step} for step in range(first, last)]


def write_rows(run: Run, first: int, last: int) -> None:
    for row in rows(first, last):
        run.append_metrics(row)


@dataclass
class World:
    """A lab on a home of its own."""

    lab: Lab
    web: WebApp = field(init=False)

    def __post_init__(self) -> None:
        self.web = web_app(self.lab)

    @property
    def settings(self) -> LabSettings:
        return self.lab.settings

    def run(self, owner: str = "local", *, shared: bool = False, n_rows: int = 3, name: str = "") -> Run:
        """A run of an owner, known to the index."""
        run = self.lab.store.create(RunConfig(), OWNERS[owner], name)
        run.write_about(shared=shared)
        self.lab.index.add(run.run_id, run.about)
        write_rows(run, 0, n_rows)
        return run

    def client(self, who: str = "local") -> TestClient:
        """A browser: of A, of B, of somebody who keeps no cookie, or of the machine's own user."""
        cookies = {COOKIE: SECRETS[who]} if who in SECRETS else {}
        app = guarded(self.web.app, self.settings, PAGES)
        return TestClient(app, base_url="http://127.0.0.1", cookies=cookies, raise_server_exceptions=False)

    def finish(self, run: Run) -> None:
        """Give the run a result."""
        run.write_status(Status("succeeded", "done", 144, 144))
        run.adapter.mkdir()
        (run.adapter / "adapter_config.json").write_text('{"r": 16}')
        (run.adapter / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 4000)
        sae = {"release": "pocket-scope", "sae_id": "layer_2/width_2k/average_l0_17", "hook_point": "blocks.2.hook_resid_post"}
        measured = {"d_in": 192, "d_sae": 2048, "stated": {"l0": 17.1, "fve": 0.85}, "original": {"l0": 17.0, "fve": 0.86}}
        values = {"gap_closed": 0.55, "ce_gap_before": 0.16, "ce_gap_after": 0.07}
        results = {key: {"value": value, "standard_error": 0.01} for key, value in values.items()}
        heldout = {"n_sequences": 192, "n_tokens": 24153, "file": "heldout.npy"}
        computed = {"way": "Trained by the fast step; 8 sequences at once", "seconds": {"training": 12.5}}
        run.write_result({"saes": [{**sae, **measured}], "heldout": heldout, "results": results, **computed})


def make_world(home: Path, access: str) -> World:
    return World(open_lab(settings_from({"LORASAE_HOME": str(home), "LORASAE_ACCESS": access})))


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An example run in place of the one that is shipped."""
    folder = tmp_path / "shipped" / "example"
    folder.mkdir(parents=True)
    described = {
        "format": 1,
        "run_id": "example",
        "created": "2026-11-22T00:00:00+00:00",
        "config": RunConfig(name="Example").model_dump(mode="json"),
    }
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "status.json").write_text(json.dumps({"state": "succeeded", "phase": "done", "step": 144, "n_steps": 144}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(0, 5)))
    monkeypatch.setattr(run_folder, "EXAMPLE_FOLDER", folder)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def local(home: Path, example: Path) -> Iterator[World]:
    """The lab on somebody's own machine."""
    world = make_world(home, "local")
    yield world
    world.lab.__exit__(None, None, None)


@pytest.fixture
def open_to_visitors(home: Path, example: Path) -> Iterator[World]:
    """The lab that strangers can reach."""
    world = make_world(home, "visitors")
    yield world
    world.lab.__exit__(None, None, None)


@dataclass
class Served:
    """A world behind a real server."""

    world: World
    port: int
    server: LabServer
    thread: threading.Thread

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> float:
        """End it as a signal does; how long that took."""
        began = time.monotonic()
        self.server.should_exit = True
        self.thread.join(10)
        return time.monotonic() - began


def serve(world: World) -> Served:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = LabServer(guarded(world.web.app, world.settings, PAGES), world.web.live.close)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
            return Served(world, port, server, thread)
        time.sleep(0.02)
    raise AssertionError("the server did not come up")


@pytest.fixture
def served(open_to_visitors: World) -> Iterator[Served]:
    running = serve(open_to_visitors)
    yield running
    running.stop()


@dataclass
class Event:
    """One event, and when it came."""

    name: str
    data: dict[str, Any]
    place: str
    at: float


class Stream:
    """A live stream being read in a thread, as a browser reads it."""

    def __init__(self, served: Served, run: Run, who: str = "A", *, place: str = "", after: str = "", points: int = 1500) -> None:
        self.events: list[Event] = []
        self.status_code = 0
        self.ended = threading.Event()
        self._socket: Any = None
        self._client = httpx.Client(verify=False, timeout=30, cookies={COOKIE: SECRETS[who]} if who in SECRETS else {})
        self._address = f"{served.address}/lab/runs/{run.run_id}/live?points={points}&after={after}"
        self._headers = {"last-event-id": place} if place else {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(httpx.HTTPError), self._client.stream("GET", self._address, headers=self._headers) as answer:
            self.status_code = answer.status_code
            self._socket = answer.extensions["network_stream"].get_extra_info("socket")
            name, data, place = "", "", ""
            for line in answer.iter_lines():
                if not line and data:
                    self.events.append(Event(name, json.loads(data), place, time.monotonic()))
                    data = ""
                elif line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif line.startswith("id: "):
                    place = line[4:]
        self.ended.set()

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    def wait(self, what: Callable[["Stream"], bool], within_s: float = 5.0) -> None:
        deadline = time.monotonic() + within_s
        while not what(self):
            assert time.monotonic() < deadline, [(event.name, event.place) for event in self.events]
            time.sleep(0.01)

    def steps(self) -> list[int]:
        """The steps that a chart fed with these events would show."""
        shown: list[int] = []
        for event in self.events:
            if event.name == "history":
                shown = list(event.data["series"].get("kl_train", [[]])[0])
            elif event.name == "rows":
                shown += [row["step"] for row in event.data["rows"]]
        return shown

    def close(self) -> None:
        """As a browser that closes the tab."""
        self._socket.shutdown(socket.SHUT_RDWR)
        assert self.ended.wait(5)
