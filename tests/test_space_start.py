"""The lab as a Space starts and ends it: told to end with a run at work, restarted on an empty disk, and on ZeroGPU."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lorasae.errors import LabError
from lorasae.identity import COOKIE
from lorasae.jobs.admission import limits_here, refuse_where_nothing_runs
from lorasae.jobs.workers import devices, worker_environment
from lorasae.store.run_folder import Run
from tests.space_process import HOST, SpaceProcess, asked, running

ROOT = Path(__file__).parents[1]
VISITORS = {"LORASAE_ACCESS": "visitors"}
ZERO = {"SYSTEM": "spaces", "SPACES_ZERO_GPU": "true"}


def as_visitor(space: SpaceProcess, path: str, body: dict | None = None) -> tuple[int, dict]:
    """What one visitor, always the same, is answered."""
    headers = {"Host": HOST, "Cookie": f"{COOKIE}={'a' * 43}", "X-Forwarded-Proto": "https"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(space.address + path, json.dumps(body).encode() if body is not None else None, headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def until(happened: Callable[[], object], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_a_space_that_is_told_to_end_keeps_its_run_and_takes_it_up_on_an_empty_disk(tmp_path):
    """The Space goes to sleep, is restarted, or gets a new version: SIGTERM, ten seconds, and the disk is gone."""
    home, bucket = tmp_path / "home" / ".lorasae", tmp_path / "bucket"
    with running(ROOT, tmp_path, **VISITORS, LORASAE_KEEP=str(bucket)) as space:
        status, begun = as_visitor(space, "/lab/start-pocket", {"submission": "click-1234567890"})
        assert status == 200, begun
        run = Run(home / "runs" / begun["run_id"])
        until(lambda: run.told.step >= 3)
    # `running` has sent SIGTERM and seen the app leave in order, in time
    told = Run(bucket / "runs" / run.run_id).told
    assert told.state == "interrupted" and told.step >= 3 and told.step == run.told.step
    shutil.rmtree(home)
    with running(ROOT, tmp_path, **VISITORS, LORASAE_KEEP=str(bucket)) as space:
        (mine,) = [each for each in as_visitor(space, "/lab/runs")[1]["runs"] if each["run_id"] == run.run_id]
        assert mine["state"] in ("queued", "running")  # nobody pressed anything
        until(lambda: run.told.resumed_from == told.step)
        assert as_visitor(space, f"/lab/runs/{run.run_id}/discard", {})[0] == 200
        until(lambda: not (bucket / "runs" / run.run_id).exists())


def test_a_space_without_a_bucket_says_so_on_every_page(tmp_path):
    with running(ROOT, tmp_path, **VISITORS) as space:
        (notice,) = json.loads(asked(f"{space.address}/lab/notices", Host=HOST)[1])["notices"]
        assert notice["key"] == "no-bucket" and notice["text"].startswith("Runs are lost when this Space restarts")
        assert notice["link"] == "https://huggingface.co/spaces/alice/lab/blob/main/docs/space.md#storage"
        for page in ("/", "/adapt", "/catalog", "/runs", "/run", "/inspect"):
            html = asked(space.address + page, Host=HOST)[1]
            assert "lab-notices" in html and '"space_id":null' in html.replace(" ", ""), page  # ours, and no header of Gradio's own
    heading = notice["link"].partition("#")[2]
    assert f"## {heading}" in (ROOT / "docs" / "space.md").read_text(encoding="utf-8").lower()


# ZeroGPU


@pytest.fixture
def device_api() -> Iterator[tuple[str, list[str]]]:
    """Where ZeroGPU is told that an app has started, and what it was told."""
    told: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told
    server.shutdown()


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """What we need of the package `spaces` (as 0.51.3 does it): it takes torch where it can, and reports if a function was registered.
    The package itself asks for Gradio and is not among our requirements; a check against it is described in docs/space.md."""
    package = tmp_path / "platform" / "spaces"
    (package / "zero").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from .zero import registered, startup\n"
        "GPU = lambda duration: lambda task: registered.append(task) or task\n"
        "gradio_auto_wrap = lambda task: task\n"
        "disable_gradio_auto_wrap = lambda: None\n"
    )
    (package / "zero" / "__init__.py").write_text(
        "import os, urllib.request\n"
        "try:\n    import torch\nexcept ImportError:\n    pass\n"
        "registered = []\n"
        "def startup():\n"
        "    if registered:\n"
        "        address = os.environ['SPACES_ZERO_DEVICE_API_URL'] + '/startup-report'\n"
        "        urllib.request.urlopen(urllib.request.Request(address, data=b'', method='POST'))\n"
    )
    return package.parent


def test_on_zero_gpu_the_lab_starts_inspects_and_refuses_runs(tmp_path, device_api, stand_in):
    address, told = device_api
    zero = {**VISITORS, "SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": address, "PYTHONPATH": f"{ROOT}:{stand_in}"}
    with running(ROOT, tmp_path, **zero) as space:
        assert told == ["/startup-report"], space.log.read_text()  # before the lab answers, or ZeroGPU would have ended it
        assert "libtorch" not in Path(f"/proc/{space.pid}/maps").read_text()
        (notice,) = as_visitor(space, "/lab/notices")[1]["notices"]
        assert notice["key"] == "zero-gpu" and "No run can be started" in notice["text"]
        status, problem = as_visitor(space, "/lab/start-pocket", {"submission": "click-1234567890"})
        assert 400 <= status < 500 and "lends a GPU to one click" in problem["problem"] and "Duplicate the Space" in problem["problem"]
        status, compared = as_visitor(space, "/lab/runs/example/compare?text=Anna%20was%20sad.")
        assert status == 200 and compared["tokens"], compared
    assert "Traceback" not in space.log.read_text()
    heading = notice["link"].partition("#")[2]
    assert f"## {heading}" in (ROOT / "docs" / "space.md").read_text(encoding="utf-8").lower()


def test_on_zero_gpu_nobody_gets_a_run_and_no_process_sees_a_gpu():
    with pytest.raises(LabError) as refused:
        refuse_where_nothing_runs(limits_here(environment=ZERO))
    assert refused.value.remedy.startswith("Duplicate the Space")
    assert devices(ZERO, Path("/nowhere")) == () and worker_environment(ZERO, "")["CUDA_VISIBLE_DEVICES"] == ""
    elsewhere = {"SYSTEM": "spaces"}
    refuse_where_nothing_runs(limits_here(environment=elsewhere))
    assert devices(elsewhere, Path("/nowhere")) == ("",) and "CUDA_VISIBLE_DEVICES" not in worker_environment(elsewhere, "")


def test_without_the_platforms_package_the_lab_starts_all_the_same(tmp_path):
    with running(ROOT, tmp_path, **VISITORS, SPACES_ZERO_GPU="true") as space:
        assert asked(f"{space.address}/healthz")[0] == 200
        assert "ZeroGPU could not be told that the lab has started: ModuleNotFoundError" in space.log.read_text()
