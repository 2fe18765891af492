"""`python app.py`: up soon, without torch and without asking anybody; told to stop, it stops; what is wrong is said in a sentence."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lorasae.settings import settings_from
from lorasae.web.server import listening

ROOT = Path(__file__).parents[2]
_NO_NETWORK = """
import socket, sys
whole = socket.socket.connect
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1", "localhost")):
        print("NETWORK", address, file=sys.stderr, flush=True)
        raise OSError("no network here")
    return whole(self, address)
socket.socket.connect = connect
socket.getaddrinfo_whole = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host not in (None, "", "127.0.0.1", "localhost", "::1", "0.0.0.0"):
        print("NETWORK", host, file=sys.stderr, flush=True)
        raise socket.gaierror("no network here")
    return socket.getaddrinfo_whole(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
import threading, os
def tell():
    import time
    while not os.path.exists(os.environ["TELL_MODULES"] + ".asked"):
        time.sleep(0.05)
    open(os.environ["TELL_MODULES"], "w").write("\\n".join(sys.modules))
threading.Thread(target=tell, daemon=True).start()
sys.argv = ["app.py"]
import runpy
runpy.run_path("app.py", run_name="__main__")
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(home: Path, port: int, *command: str, **environment: str) -> "subprocess.Popen[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LORASAE_", "GRADIO_"))}
    return subprocess.Popen(
        [sys.executable, *(command or ("app.py",))],
        cwd=ROOT,
        env={**inherited, "LORASAE_HOME": str(home), "LORASAE_PORT": str(port), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(port: int, process: "subprocess.Popen[str]") -> float:
    began = time.monotonic()
    while time.monotonic() - began < 60:
        with suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
            return time.monotonic() - began
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the lab did not come up")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, "subprocess.Popen[str]", Path]]:
    """The app in a process that cannot reach the network and can be asked what it has imported."""
    folder, port = tmp_path_factory.mktemp("app"), free_port()
    process = start(folder / "home", port, "-c", _NO_NETWORK, TELL_MODULES=str(folder / "modules"))
    print(f"up after {wait_for(port, process):.1f} s")
    yield port, process, folder
    process.kill()
    process.wait()


def test_every_page_is_served(app: tuple[int, "subprocess.Popen[str]", Path]) -> None:
    for page in ("/", "/adapt", "/runs", "/run", "/inspect"):
        answer = httpx.get(f"http://127.0.0.1:{app[0]}{page}", timeout=60)
        assert answer.status_code == 200 and "gradio_config" in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_torch_is_not_imported(app: tuple[int, "subprocess.Popen[str]", Path]) -> None:
    port, _, folder = app
    for path in ("/", "/adapt", "/runs", "/inspect", "/lab/runs", "/lab/runs/example", "/lab/catalog", "/lab/metrics"):
        httpx.get(f"http://127.0.0.1:{port}{path}", timeout=60)
    (folder / "modules.asked").touch()
    deadline = time.monotonic() + 30
    while not (folder / "modules").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    imported = (folder / "modules").read_text().split("\n")
    assert "gradio" in imported
    assert not {"torch", "transformers", "peft", "sae_lens", "datasets"} & set(imported)


def raw(port: int, method: str, target: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """A request exactly as it is written, which no client would send."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, target, skip_host=bool(headers and "Host" in headers), skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if method == "POST":
        connection.putheader("content-length", "0")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


TARGETS = [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=CANARY",
    "/gradio_api/file%3d/etc/passwd",
    "/gradio_api/file=..%2f..%2f..%2fetc%2fpasswd",
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/gradio_api/file/http://127.0.0.1:1/x",
    "/GRADIO_API/file=/etc/passwd",
    "//gradio_api/file=/etc/passwd",
    "/gradio_api//file=/etc/passwd",
    "/lab/../gradio_api/file=/etc/passwd",
    "/lab/%2e%2e/gradio_api/file=/etc/passwd",
    "/lab/assets/../../../../etc/passwd",
    "/lab/assets/..%2f..%2f..%2fapp.py",
    "/assets/../gradio_api/file=/etc/passwd",
    "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/gradio_api/proxy=http://127.0.0.1:1/x",
    "/gradio_api/%66ile=/etc/passwd",
    "/gradio_api/%2566ile=/etc/passwd",
    "http://evil.example/gradio_api/file=/etc/passwd",
    "/gradio_api/upload/../file=/etc/passwd",
    "/gradio_api/component_server",
    "/gradio_api/info",
    "/monitoring",
    "/login",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_nothing_of_this_machine_is_given_away(app: tuple[int, "subprocess.Popen[str]", Path], method: str, target: str) -> None:
    canary = app[2] / "canary.txt"
    canary.write_text("canary")
    status, headers, body = raw(app[0], method, target.replace("CANARY", str(canary)))
    assert status in (400, 403, 404)
    assert b"canary" not in body and b"root:" not in body and b"import" not in body
    assert status == 400 or headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/config", "/lab/runs", "/gradio_api/app_id"])
def test_no_other_origin_may_read(app: tuple[int, "subprocess.Popen[str]", Path], path: str) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        _, told, _ = raw(app[0], "GET", path, headers)
        assert "access-control-allow-origin" not in told and "access-control-allow-credentials" not in told
        status, told, _ = raw(app[0], "OPTIONS", path, {**headers, "Access-Control-Request-Method": "POST"})
        assert status in (400, 403) and "access-control-allow-origin" not in told


def test_ten_thousand_ranges_are_no_burden(app: tuple[int, "subprocess.Popen[str]", Path]) -> None:
    began = time.monotonic()
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(2000))
    status, _, _ = raw(app[0], "GET", "/static/img/logo.svg", {"Range": ranges})
    assert status < 500 and time.monotonic() - began < 2


def test_at_the_end_it_leaves_at_once_with_streams_open_and_asked_nobody(app: tuple[int, "subprocess.Popen[str]", Path]) -> None:
    port, process, _ = app
    streams = []
    for path in ("/lab/runs/example/live", "/gradio_api/heartbeat/abc"):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert stream.recv(100)
        streams.append(stream)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    told, errors = process.communicate(timeout=60)
    took = time.monotonic() - began
    assert process.returncode == 0
    assert took < 8, f"{took:.1f} s"  # a second on a machine that has nothing else to do
    assert told.strip() == f"LoRA-SAE Lab: http://127.0.0.1:{port}"
    assert "NETWORK" not in errors and "Traceback" not in errors and "Warning" not in errors, errors


def test_control_c_while_it_starts_ends_it_without_a_traceback(tmp_path: Path) -> None:
    script = "import signal, threading, os, time, app\n{}\nraise SystemExit(app.main())"
    kill = "threading.Thread(target=lambda: (time.sleep({}), os.kill(os.getpid(), signal.{}))).start()"
    for after_s, name in ((0.05, "SIGINT"), (0.6, "SIGTERM"), (1.5, "SIGINT")):
        process = start(tmp_path / "home", free_port(), "-c", script.format(kill.format(after_s, name)))
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors and process.returncode in (130, 0), errors


def test_a_port_in_use_is_told_in_a_sentence_that_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(tmp_path / "home", port)
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and told == ""
    assert "Another program uses that port" in errors and f"LORASAE_PORT={port + 1}" in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("LORASAE_PORT", "http", "A port is a number"),
        ("LORASAE_PORT", "70000", "A port is a number"),
        ("LORASAE_PORT", "²", "A port is a number"),
        ("LORASAE_ACCESS", "everybody", "There are: local, visitors"),
        ("LORASAE_HOST", "0.0.0.0", "LORASAE_ACCESS=visitors"),
    ],
)
def test_a_setting_that_means_nothing_is_told_in_a_sentence(tmp_path: Path, setting: str, value: str, said: str) -> None:
    process = start(tmp_path / "home", free_port(), **{setting: value})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and said in errors and "Traceback" not in errors


def test_on_a_space_the_same_file_serves_strangers_under_the_spaces_name() -> None:
    settings = settings_from({"SYSTEM": "spaces", "SPACE_HOST": "Someone-Lab.hf.space", "LORASAE_HOME": "/nowhere"})
    assert (settings.access, settings.host, settings.port) == ("sign-in", "0.0.0.0", 7860)
    assert "someone-lab.hf.space" in settings.allowed_hosts


def test_an_address_of_another_machine_is_told_in_a_sentence() -> None:
    settings = settings_from(
        {"LORASAE_ACCESS": "visitors", "LORASAE_HOST": "192.0.2.1", "LORASAE_PORT": "7999", "LORASAE_HOME": "/nowhere"}
    )
    with pytest.raises(Exception, match="an address of this machine"):
        listening(settings)


def test_no_answer_on_a_kept_connection_waits_for_an_acknowledgement(tmp_path: Path) -> None:
    async def accepted_without_delay() -> bool:
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(bool(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            writer.close()

        port = free_port()
        settings = settings_from({"LORASAE_HOME": str(tmp_path), "LORASAE_PORT": str(port)})
        async with await asyncio.start_server(met, sock=listening(settings)):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await asyncio.wait_for(found, 5)
            writer.close()
            return answer

    with ThreadPoolExecutor(1) as elsewhere:  # a browser test before it in this process leaves its event loop running
        assert elsewhere.submit(asyncio.run, accepted_without_delay()).result()
