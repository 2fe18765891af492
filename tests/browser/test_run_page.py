"""The pages of one run and of all runs: curves that grow under the visitor's eyes, what is kept over updates, questions, comparison."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lorasae.store.durable import write_json
from lorasae.store.run_folder import Run
from tests.browser.conftest import ROOT, LabProcess, Visit
from tests.browser.contrast import contrast_of_fields

EXAMPLE = ROOT / "assets" / "demo" / "run"
ROWS = (EXAMPLE / "metrics.jsonl").read_text().splitlines()
HOSTILE = "<img src=x onerror=alert(1)> & </script>"
NEWEST = "Math.max(...document.querySelector('[data-chart=kl] .chart-plot').data[0].x)"
RANGES = "[...document.querySelectorAll('.chart-plot')].map((plot) => plot._fullLayout.xaxis.range.map(Math.round).join())"
LOOK_AWAY = """(away) => {
    Object.defineProperty(document, 'hidden', {value: away, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""
DRAWN = "((plots) => plots.length && plots.every((plot) => plot.data?.length))([...document.querySelectorAll('.chart-plot')])"


@dataclass
class Written:
    """A run folder that the test writes as a worker would."""

    run: Run

    @property
    def page(self) -> str:
        return f"/run?run={self.run.run_id}"

    def row(self, number: int) -> None:
        with (self.run.folder / "metrics.jsonl").open("a") as file:
            file.write(ROWS[number] + "\n")

    def status(self, state: str, step: int, **more: Any) -> None:
        told = {"state": state, "phase": "training", "step": step, "n_steps": 144, "eta_s": 9.0, "message": "", "pid": os.getpid(), **more}
        write_json(self.run.folder / "status.json", {**told, "updated": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())})


@pytest.fixture
def written(lab: LabProcess) -> Callable[..., Written]:
    """Make a run from the example: finished, or with only its first rows and no result; `settings` are laid over its own."""

    def write(tail: str, n_rows: int | None = None, name: str = "", **train: Any) -> Written:
        run_id = f"20260101-000000-{tail}"
        folder = lab.home / "runs" / run_id
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(EXAMPLE, folder)
        described = json.loads((folder / "config.json").read_text())
        described["config"]["name"] = name
        described["config"]["train"] |= train
        write_json(folder / "config.json", {**described, "run_id": run_id})
        for left_over in ("about.json", "lock"):
            (folder / left_over).unlink(missing_ok=True)
        if n_rows is not None:
            (folder / "lorasae.json").unlink()
            (folder / "metrics.jsonl").write_text("".join(row + "\n" for row in ROWS[:n_rows]))
        return Written(Run(folder))

    return write


def test_a_row_is_drawn_soon_after_it_is_written_and_the_zoom_is_the_visitors(written, visit: Callable[..., Visit]) -> None:
    run = written("a00001", n_rows=41)
    run.status("running", 40)
    with run.run.claimed():
        seen = visit(run.page)
        page = seen.page
        page.wait_for_function(DRAWN)
        page.evaluate("window.drawn = document.querySelector('[data-chart=kl] .main-svg')")
        delays = []
        for number in range(41, 61):
            run.row(number)
            run.status("running", number)
            began = time.monotonic()
            page.wait_for_function(f"{NEWEST} >= {number}", polling=20)
            delays.append(time.monotonic() - began)
        assert sorted(delays)[len(delays) // 2] < 1.5, delays
        assert page.evaluate("window.drawn.isConnected")  # the same picture, changed in place
        expect(page).to_have_title(re.compile("^● 42 % "))
        expect(page.locator(".result-sentence")).to_contain_text("of the damage repaired")

        drag_over(page, 0.2, 0.6)
        page.wait_for_function(f"!{RANGES}[0].startsWith('0,') && new Set({RANGES}).size === 1")  # all charts show the same stretch
        zoomed = page.evaluate(RANGES)
        assert len(zoomed) == 6
        for number in range(61, 71):
            run.row(number)
        page.wait_for_function("document.querySelector('[data-chart=kl] .chart-legend').textContent")
        page.wait_for_timeout(1000)
        assert page.evaluate(RANGES) == zoomed
        page.reload()
        page.wait_for_function(DRAWN)
        assert page.evaluate(RANGES) == zoomed  # the address restores it
        page.locator("[data-chart=kl] .nsewdrag").dblclick()
        page.wait_for_function(f"{RANGES}[0].startsWith('0,')")
    seen.clean()


def drag_over(page: Page, left: float, right: float) -> None:
    field = page.locator("[data-chart=kl] .nsewdrag")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * left, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * right, box["y"] + 60, steps=6)
    page.mouse.up()


def test_a_tab_out_of_sight_gives_its_stream_back_and_is_up_to_date_again_when_seen(written, visit: Callable[..., Visit]) -> None:
    run = written("a00009", n_rows=41)
    run.status("running", 40)
    with run.run.claimed():
        page = visit(run.page).page
        page.wait_for_function(DRAWN)
        page.clock.install()
        page.evaluate(LOOK_AWAY, True)
        page.clock.run_for(21_000)
        run.row(41)
        run.status("running", 72)
        with page.expect_response(re.compile(f"/lab/runs/{run.run.run_id}$")):
            page.clock.run_for(6000)
        expect(page).to_have_title(re.compile("^● 50 % "))  # it asks now and then
        assert page.evaluate(NEWEST) == 40  # and no rows come
        page.evaluate(LOOK_AWAY, False)
        page.clock.resume()
        page.wait_for_function(f"{NEWEST} >= 41")


def test_a_hundred_thousand_points_open_whole_and_sharpen_where_one_zooms(written, visit: Callable[..., Visit]) -> None:
    run = written("a00002")
    run.status("succeeded", 100_000, n_steps=100_000, pid=None)
    spike = 40_123
    rows = ({"step": step, "kl_train": 0.9 if step == spike else 0.1 + step % 7 / 100, "tokens_per_s": 2000.0} for step in range(100_001))
    with (run.run.folder / "metrics.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    seen = visit(run.page + "&smooth=0")
    page = seen.page
    curve = "document.querySelector('[data-chart=kl] .chart-plot').data[0]"
    page.wait_for_function("document.querySelector('.chart-plot')?.data?.[0]?.x.length > 2")
    steps, most, n_points = page.evaluate(f"[[{curve}.x[0], {curve}.x.at(-1)], Math.max(...{curve}.y), {curve}.x.length]")
    assert steps[0] <= 100 and steps[1] >= 99_900  # the whole history, not its end
    assert most == pytest.approx(0.9)  # thinned, and the one spike still there
    assert n_points <= 2000
    inside = f"{curve}.x.filter((x) => x >= 30000 && x <= 50000).length"
    coarse = page.evaluate(inside)
    drag_over(page, 0.3, 0.5)
    page.wait_for_function(f"{inside} > 2 * {coarse}")
    seen.clean()


def test_questions_are_asked_before_what_cannot_be_undone_and_give_the_focus_back(written, visit: Callable[..., Visit]) -> None:
    run = written("a00003", name="mine")
    seen = visit(run.page)
    page = seen.page
    page.get_by_role("button", name="Delete this run…").click()
    expect(page.get_by_role("dialog", name="Delete “mine”?")).to_be_visible()
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete this run…")).to_be_focused()

    page.get_by_role("button", name="Rename mine").click()
    page.get_by_label("New name").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    page.goto(page.url.replace(run.page, f"/runs?compare={run.run.run_id},example"))
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    page.goto(page.url.split("/runs")[0] + run.page)
    page.get_by_role("button", name="Delete this run…").click()
    page.get_by_role("button", name="Delete with its files").click()
    page.wait_for_url("**/runs")
    assert not run.run.folder.exists()
    seen.clean()


def test_what_is_typed_can_be_read_in_the_dark(written, visit: Callable[..., Visit]) -> None:
    run = written("a00012", name="mine")
    for path in (run.page, "/gallery"):
        page = visit(path, dark=True).page
        if path == run.page:
            page.get_by_role("button", name="Rename mine").click()
        page.locator("input:visible, select:visible").first.wait_for()
        fields = contrast_of_fields(page)
        assert fields and not {label: ratio for label, ratio in fields.items() if ratio < 4.5}, path


def test_a_failed_run_says_what_happened_what_it_means_and_what_to_do(written, visit: Callable[..., Visit]) -> None:
    run = written("a00004", n_rows=41)
    run.status("failed", 40, pid=None, message=f"Step 41 was taken. Its loss is not a finite number. {HOSTILE}")
    seen = visit(run.page)
    ending = seen.page.locator(".run-ending")
    expect(ending.locator("dt")).to_have_text(["Cause", "What it means", "Next"])
    expect(ending).to_contain_text(HOSTILE)
    seen.clean()


def test_a_run_can_be_resumed_once_its_process_has_ended(written, visit: Callable[..., Visit]) -> None:
    run = written("a00013", n_rows=41)
    run.status("failed", 40, pid=None, message="Step 41 was taken. Its loss is not a finite number.")
    with run.run.claimed():
        page = visit(run.page).page
        expect(page.get_by_role("button", name="Resume")).to_be_disabled()
    expect(page.get_by_role("button", name="Resume")).to_be_enabled()
    expect(page.locator(".run-ending")).not_to_contain_text("It cannot be resumed")


def test_an_sae_that_is_not_what_it_states_can_be_tried_all_the_same(written, visit: Callable[..., Visit]) -> None:
    run = written("a00010", n_rows=0)
    run.status("failed", 0, pid=None, message="There its variance explained is 0.596, stated 0.830. To go on, set trust_measured")
    page = visit(run.page).page
    expect(page.locator(".result-sentence")).to_have_text("It failed before anything was measured.")
    expect(page.locator(".run-ending")).to_contain_text("It will end the same way unless the settings change.")
    page.get_by_role("link", name="Duplicate without this check").click()
    page.get_by_text("Every setting", exact=True).click()
    expect(page.locator("#adapt-trust_measured input, #adapt-trust-measured input").first).to_be_checked()


def test_a_run_taken_up_again_still_says_what_its_earlier_stop_had_reached(written, visit: Callable[..., Visit]) -> None:
    run = written("a00011", n_rows=1)
    shutil.copyfile(EXAMPLE / "lorasae.json", run.run.folder / "lorasae.json")
    run.status("running", 10)
    with run.run.claimed():
        page = visit(run.page).page
        expect(page.locator(".result-big")).to_have_text("–")
        expect(page.locator(".result-number")).to_contain_text("Stopped at step 144, it had closed 54.7 % of the gap.")


def test_a_selection_stays_when_new_runs_come_and_its_comparison_shows_what_differs(written, visit: Callable[..., Visit]) -> None:
    first, second = written("a00005", name="slow", learning_rate=0.001), written("a00006", name="fast", learning_rate=0.01)
    seen = visit("/runs?sort=name&q=finished")
    page = seen.page
    for run in (first, second):
        page.get_by_label(f"Select {run.run.config.name} for comparison").check()
    written("a00007", name="another")
    expect(page.get_by_role("link", name="another")).to_be_visible()
    expect(page.get_by_role("link", name="Compare 2 runs")).to_be_visible()
    page.get_by_role("link", name="Compare 2 runs").click()
    page.wait_for_function(DRAWN)
    results = page.get_by_role("region", name="The results as a table")
    expect(results.locator("tbody tr").first.locator("td")).to_have_text(["54.7 % ± 1.6", "54.7 % ± 1.6"])
    expect(results.locator(".compare-best")).to_have_count(0)  # equal within their errors
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).last.click()
    assert download.value.path().read_text().splitlines()[0].startswith("run_id,name,gap_closed,gap_closed_error")
    table = page.get_by_role("region", name="The settings as a table")
    expect(table.locator("tbody th")).to_have_text(["train.learning_rate"])
    expect(table.locator("tbody td")).to_have_text(["0.001", "0.01"])
    page.get_by_label("Show all").check()
    assert table.locator("tbody tr").count() > 20
    seen.clean()


def test_the_replay_plays_the_pinned_sentence_by_keyboard(visit: Callable[..., Visit]) -> None:
    seen = visit("/run?run=example")
    page = seen.page
    slider = page.get_by_role("slider", name="Training step")
    slider.focus()
    last = page.locator(".replay-step").inner_text()
    page.keyboard.press("Home")
    assert page.locator(".replay-step").inner_text() != last
    token = page.locator(".replay-line").first.locator("button").first
    token.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".replay-card")).to_contain_text("KL")
    seen.clean()


def test_nothing_is_wider_than_a_phone(written, visit: Callable[..., Visit]) -> None:
    run = written("a00008", name="a-name-without-any-space-" * 6)
    for path in (run.page, "/runs", f"/runs?compare=example,{run.run.run_id}"):
        page = visit(path, phone=True).page
        page.wait_for_selector(".chart-plot, .run-card")
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
