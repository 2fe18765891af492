"""The browser of the browser tests: found on this machine, or installed. `python -m tests.browser.chromium` is the set-up step."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str | None:
    """The path of a Chromium: the one LORASAE_CHROMIUM names, the system's, or Playwright's own."""
    named = os.environ.get("LORASAE_CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    installed = next((path for path in map(shutil.which, NAMES) if path), None)
    return installed or _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if path and Path(path).is_file() else None


def install() -> str | None:
    """Debian's package where that is possible, else Playwright's own; None where neither can be had."""
    if shutil.which("apt-get") and os.name == "posix" and os.geteuid() == 0:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "timeout": 600}
        _try(["apt-get", "update", "-qq"], **quiet)
        _try(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"], **quiet)
    if not find():
        _try([sys.executable, "-m", "playwright", "install", "chromium"], timeout=600)
    return find()


def _try(command: Sequence[str], **options: object) -> None:
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.TimeoutExpired):
        return


if __name__ == "__main__":
    if not (find() or install()):
        print("No Chromium is here and none could be installed: the browser tests will be skipped. Install chromium to run them.")
