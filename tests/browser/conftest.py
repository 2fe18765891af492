"""A lab in its own process on a home of its own, and a browser that notices every error, every warning and every foreign request."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.chromium import FLAGS, find
from tests.hub.server import LocalHub, local_hub

ROOT = Path(__file__).parents[2]
SCREENSHOTS = os.environ.get("LORASAE_SCREENSHOTS")  # a folder: the tour of the product leaves its pictures there


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser, started once."""
    path = find()
    if path is None:
        if os.environ.get("LORASAE_REQUIRE_BROWSER"):
            pytest.fail("No Chromium here, and LORASAE_REQUIRE_BROWSER is set: python -m tests.browser.chromium")
        pytest.skip("no Chromium here: python -m tests.browser.chromium installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class LabProcess:
    """`python app.py` on a home; can be killed and started again on the same port."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "LabProcess":
        environment = {**os.environ, "LORASAE_HOME": str(self.home), "LORASAE_PORT": str(self.port), "OMP_NUM_THREADS": "1"}
        log = (self.home.parent / f"{self.home.name}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env={**environment, **self.environment}, stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/healthz", timeout=2):
                return self
            assert self.process.poll() is None, self.log()
            time.sleep(0.1)
        raise AssertionError(f"the lab did not answer within a minute: {self.log()}")

    def log(self) -> str:
        return (self.home.parent / f"{self.home.name}.log").read_text(errors="replace")

    def kill(self) -> None:
        """As the system does it when memory runs out."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    """A local lab, shared by the tests of a file."""
    process = LabProcess(tmp_path_factory.mktemp("lab") / "home").start()
    yield process
    process.stop()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """A Hub of its own for every test, empty."""
    with local_hub(tmp_path / "hub") as running:
        yield running


@dataclass
class Visit:
    """A page, and what went wrong on it."""

    page: Page
    troubles: list[str]

    def clean(self) -> None:
        """No console error, no failed request, no request to another place."""
        assert self.troubles == []


def watched(context: BrowserContext, origin: str) -> Visit:
    """A new page that notes its troubles."""
    page, troubles = context.new_page(), []
    page.on("console", lambda message: troubles.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("response", lambda answer: troubles.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith((origin, "data:", "blob:")) else troubles.append(f"foreign: {request.url}"),
    )
    page.set_default_timeout(20_000)
    return Visit(page, troubles)


@pytest.fixture
def visit(chromium: Browser, lab: LabProcess) -> Iterator[Callable[..., Visit]]:
    """Open pages of the lab: `visit("/runs", phone=True, dark=True)`. Each call is a new browser, as another visitor would have."""
    contexts: list[BrowserContext] = []

    def open_page(path: str = "/", *, phone: bool = False, dark: bool = False, of: LabProcess | None = None) -> Visit:
        viewport = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
        context = chromium.new_context(
            viewport=viewport,  # type: ignore[arg-type]
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        address = (of or lab).address
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        seen = watched(context, address)
        seen.page.goto(address + path)
        return seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Keep a screenshot under LORASAE_SCREENSHOTS, where that is set: `make pictures` puts them under docs/."""

    def take(page: Page, name: str) -> None:
        if SCREENSHOTS:
            page.wait_for_timeout(400)
            page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))

    return take
