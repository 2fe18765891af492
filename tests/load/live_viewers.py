"""Two hundred people watch one run while somebody clicks. Not a test: a measurement, printed.

    python -m tests.load.live_viewers --viewers 200 --seconds 60

It starts the lab on a home of its own, with one more page whose button goes through Gradio's queue; appends a row to a run's metrics every
second; and reads the live stream as often as told. Targets: delivery p99 < 250 ms, no row missed or doubled, a click < 1 s.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HEADERS = "Host: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n"


@dataclass
class Seen:
    """What the viewers and the clicking person noticed."""

    delivery_s: list[float] = field(default_factory=list)
    clicks_s: list[float] = field(default_factory=list)
    steps: dict[int, list[int]] = field(default_factory=dict)
    reconnections: int = 0


async def watch(port: int, run_id: str, number: int, seen: Seen) -> None:
    """One viewer, who comes back when cut off, as a browser does."""
    place = ""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
            last = f"Last-Event-ID: {place}\r\n" if place else ""
            writer.write(f"GET /lab/runs/{run_id}/live HTTP/1.1\r\n{HEADERS}{last}\r\n".encode())
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    place = line[4:].decode().strip()
                elif line.startswith(b'data: {"rows"'):
                    now = time.time()
                    for row in json.loads(line[6:])["rows"]:
                        seen.delivery_s.append(now - row["written"])
                        seen.steps.setdefault(number, []).append(row["step"])
        seen.reconnections += 1
        await asyncio.sleep(1)


async def ask(port: int, method: str, path: str, body: Any = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request; the answer's lines are to be read."""
    content = b"" if body is None else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    kind = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if body is not None else ""
    writer.write(f"{method} {path} HTTP/1.1\r\n{HEADERS}{kind}Connection: close\r\n\r\n".encode() + content)
    return reader, writer


async def click(port: int, fn_index: int, seen: Seen) -> None:
    """A click on the queued button every half second, from the click to its outcome."""
    while True:
        began, session = time.monotonic(), secrets.token_hex(6)
        reader, writer = await ask(port, "POST", "/gradio_api/queue/join", {"data": ["x"], "fn_index": fn_index, "session_hash": session})
        joined = await reader.read()
        assert b"event_id" in joined, joined
        writer.close()
        reader, writer = await ask(port, "GET", f"/gradio_api/queue/data?session_hash={session}")
        async for line in reader:
            if b"process_completed" in line:
                assert b"clicked x" in line, line
                break
        writer.close()
        seen.clicks_s.append(time.monotonic() - began)
        await asyncio.sleep(0.5)


async def measure(port: int, run_id: str, metrics: Path, n_viewers: int, seconds: int, pid: int) -> None:
    seen = Seen()
    reader, _ = await ask(port, "GET", "/config")
    config = json.loads((await reader.read()).split(b"\r\n\r\n", 1)[1])
    fn_index = next(each["id"] for each in config["dependencies"] if each["api_name"] == "clicked")
    viewers = [asyncio.create_task(watch(port, run_id, number, seen)) for number in range(n_viewers)]
    await asyncio.sleep(5)
    clicking = asyncio.create_task(click(port, fn_index, seen))
    for step in range(1, seconds + 1):
        row = {"step": step, "written": time.time(), "kl_train": 0.1, "learning_rate": 0.004, "tokens_per_s": 2300.5}
        with metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        await asyncio.sleep(1)
    await asyncio.sleep(1)
    if clicking.done():
        clicking.result()
    told(seen, n_viewers, seconds, pid)
    for task in (*viewers, clicking):
        task.cancel()


def told(seen: Seen, n_viewers: int, seconds: int, pid: int) -> None:
    right = list(range(1, seconds + 1))
    wrong = sum(seen.steps.get(number) != right for number in range(n_viewers))
    status = Path(f"/proc/{pid}/status").read_text()
    rss = next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    print(f"viewers {n_viewers}, {seconds} s, {len(seen.delivery_s)} deliveries, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("delivery", spread(seen.delivery_s))
    print("clicks  ", spread(seen.clicks_s))
    print(f"viewers with a gap or a double: {wrong}; reconnections: {seen.reconnections}; server {rss} MB")


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    at = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in {**at, "max": ordered[-1]}.items()) + f", n {len(ordered)}"


def serve() -> None:
    """The lab with one more page, in a process of its own."""
    import gradio as gr

    import pages
    from lorasae.lab import Lab, open_lab
    from lorasae.settings import settings_from
    from lorasae.web.server import listening
    from pages import site

    def build(lab: Lab) -> None:
        text, outcome = gr.Textbox(), gr.Textbox()
        gr.Button("queued").click(lambda said: f"clicked {said}", text, outcome, api_name="clicked")

    site.PAGES = (*pages.PAGES, pages.Page("Load", "/load", build, in_navbar=False))
    settings = settings_from()
    with listening(settings) as listener, open_lab(settings) as lab:
        site.serve(lab, listener, threading.Event())


def main() -> None:
    """Start the lab, measure, end it."""
    parser = argparse.ArgumentParser(description="Live viewers and a clicking person, measured")
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve()
    from lorasae.config import RunConfig
    from lorasae.store.runs import RunStore

    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        home = Path(folder) / "home"
        run = RunStore(home).create(RunConfig())
        environment = {**os.environ, "LORASAE_HOME": str(home), "LORASAE_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
        server = subprocess.Popen([sys.executable, "-m", "tests.load.live_viewers", "--serve"], cwd=ROOT, env=environment)
        try:
            wait_for(port)
            asyncio.run(measure(port, run.run_id, run.metrics_file, chosen.viewers, chosen.seconds, server.pid))
        finally:
            began = time.monotonic()
            server.terminate()
            server.wait(20)
            print(f"stopped in {time.monotonic() - began:.1f} s")


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if b"200 OK" in connection.recv(100):
                return
        time.sleep(0.1)
    raise SystemExit("the lab did not come up")


if __name__ == "__main__":
    main()
