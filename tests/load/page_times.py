"""How long the lab's pages take on this machine. Not a test: a measurement, printed. Nothing else should run beside it.

    python -m tests.load.page_times --times 5

Each time is that of a new browser with an empty cache, from the browser's own clock. Targets: the lab up < 8 s, first paint of Home < 2 s,
a run with 100,000 points drawn < 1 s, a row on the chart < 1.5 s after it was written, 128 tokens compared < 1 s, the next feature
< 150 ms, all SAEs listed < 1 s, a search over them < 150 ms.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import FLAGS, find
from tests.browser.conftest import ROOT, LabProcess
from tests.load.live_viewers import spread

EXAMPLE = ROOT / "assets" / "demo" / "run"
TEXT = "Anna lost her red kite at the harbour. The wind was strong and the boats were loud. " * 6
DRAWN = "() => document.querySelector('[data-chart=kl] .chart-plot .scatterlayer .trace') && performance.now()"
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
LISTED = "() => document.querySelector('.catalog-table tbody tr') && performance.now()"
SEARCHED = """async () => {
    const began = performance.now();
    await (await fetch('/lab/catalog/search?q=gemma+l0+82')).json();
    return performance.now() - began;
}"""
LAST_STEP = "Math.max(...document.querySelector('[data-chart=kl] .chart-plot').data[0].x)"
SAE = {"release": "pocket-scope", "sae_id": "layer_4/width_2k/average_l0_17"}
MOVE = """() => new Promise((moved) => {
    const began = performance.now();
    document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true, cancelable: true}));
    requestAnimationFrame(() => setTimeout(() => moved(performance.now() - began)));
})"""
COMPARED = """async (address) => {
    const began = performance.now();
    const said = await (await fetch(address)).json();
    return [performance.now() - began, said.tokens.length];
}"""


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """A page in a new browser: nothing is cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    yield page
    context.close()


def started(home: Path) -> tuple[LabProcess, float]:
    began = time.monotonic()
    lab = LabProcess(home).start()
    return lab, time.monotonic() - began


def written_run(home: Path, run_id: str, rows: list[dict[str, float]], state: str) -> Path:
    """A run folder as a worker would leave it; its metrics file."""
    folder = home / "runs" / run_id
    shutil.copytree(EXAMPLE, folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "run_id": run_id}))
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": state, "step": len(rows), "n_steps": len(rows), "pid": os.getpid()}))
    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return metrics


def first_paint(browser: Browser, lab: LabProcess) -> float:
    with opened(browser, lab.address) as page:
        return page.wait_for_function(PAINTED).json_value() / 1000


def catalog(browser: Browser, lab: LabProcess) -> tuple[float, float, float]:
    """The first rows of all SAEs, on a first visit and by somebody who comes from another page; and an answer to a search."""
    with opened(browser, f"{lab.address}/catalog") as page:
        new = page.wait_for_function(LISTED).json_value() / 1000
    with opened(browser, lab.address) as page:
        page.wait_for_function(PAINTED)
        page.goto(f"{lab.address}/catalog")
        known = page.wait_for_function(LISTED).json_value() / 1000
        return new, known, page.evaluate(SEARCHED) / 1000


def long_history(browser: Browser, lab: LabProcess, run_id: str) -> tuple[float, float]:
    """By somebody who has never been here, and by somebody who comes from another run."""
    address = f"{lab.address}/run?run={run_id}"
    with opened(browser, address) as page:
        new = page.wait_for_function(DRAWN).json_value() / 1000
    with opened(browser, f"{lab.address}/run?run=example") as page:
        page.wait_for_function(DRAWN)
        page.goto(f"{lab.address}/runs")
        page.wait_for_selector(".run-card")
        page.goto(address)
        return new, page.wait_for_function(DRAWN).json_value() / 1000


def rows_on_chart(browser: Browser, lab: LabProcess, run_id: str, metrics: Path, times: int) -> list[float]:
    """From the moment a row is written until it is on the chart."""
    delays = []
    with opened(browser, f"{lab.address}/run?run={run_id}&smooth=0") as page:
        page.wait_for_function(DRAWN)
        for step in range(1000, 1000 + times):
            time.sleep(0.5 + step % 7 / 10)
            with metrics.open("a") as file:
                file.write(json.dumps({"step": step, "kl_train": 0.1}) + "\n")
            began = time.time()
            page.wait_for_function(f"{LAST_STEP} >= {step}", polling=10)
            delays.append(time.time() - began)
    return delays


def compared(page: Page, lab: LabProcess, number: int) -> float:
    """128 tokens under the three conditions, asked over HTTP; every time another text."""
    query = urlencode({"text": f"{number} {TEXT}", **SAE})
    milliseconds, n_tokens = page.evaluate(COMPARED, f"{lab.address}/lab/runs/example/compare?{query}")
    assert n_tokens >= 128, n_tokens
    return milliseconds / 1000


def inside(browser: Browser, lab: LabProcess, times: int) -> tuple[list[float], list[float]]:
    """Texts compared, and features moved through by the arrow key until the panes have followed on the screen."""
    with opened(browser, f"{lab.address}/inspect?{urlencode({'run': 'example', 'text': TEXT, **SAE})}") as page:
        page.wait_for_selector(".damage-words")
        page.wait_for_selector(".features-fate")  # the pass over held-out text is through
        comparisons = [compared(page, lab, number) for number in range(times)]
        page.locator("[data-feature]").first.click()
        page.locator("[data-feature]").first.focus()
        return comparisons, [page.evaluate(MOVE) / 1000 for _ in range(4 * times)]


def ups(home: Path, times: int) -> tuple[LabProcess, list[float]]:
    """The lab started so many times; the last one goes on."""
    seconds = []
    for number in range(times):
        lab, took = started(home)
        seconds.append(took)
        if number < times - 1:
            lab.stop()
    return lab, seconds


def told(name: str, seconds: list[float]) -> None:
    print(f"{name:<48} {spread(seconds)}", flush=True)


def main() -> None:
    """Start the lab on a home of its own, open its pages, say how long it took."""
    parser = argparse.ArgumentParser(description="The pages of the lab, timed")
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "home"
        (home / "runs").mkdir(parents=True)
        long_id, live_id = "20260101-000000-a00001", "20260101-000000-a00002"
        history = [{"step": step, "kl_train": 0.1 + step % 7 / 100, "tokens_per_s": 2000.0} for step in range(100_000)]
        written_run(home, long_id, history, "succeeded")
        metrics = written_run(home, live_id, history[:1000], "running")
        lab, seconds = ups(home, times)
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        try:
            told("lab up", seconds)
            told("first paint of Home", [first_paint(browser, lab) for _ in range(times)])
            catalogs = [catalog(browser, lab) for _ in range(times)]
            told("all SAEs listed, on a first visit", [new for new, _, _ in catalogs])
            told("all SAEs listed, coming from another page", [known for _, known, _ in catalogs])
            told("an answer to a search over all SAEs", [searched for *_, searched in catalogs])
            histories = [long_history(browser, lab, long_id) for _ in range(times)]
            told("100,000 points drawn, on a first visit", [new for new, _ in histories])
            told("100,000 points drawn, coming from another run", [known for _, known in histories])
            told("row written until on the chart", rows_on_chart(browser, lab, live_id, metrics, 4 * times))
            comparisons, moves = inside(browser, lab, times)
            told("128 tokens or more compared", comparisons)
            told("the next feature on the screen", moves)
        finally:
            browser.close()
            lab.stop()


if __name__ == "__main__":
    main()
