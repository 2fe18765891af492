"""The screenshots of the README, taken of the lab as it is: `make pictures`. Other tests look at these views; this takes time."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SCREENSHOTS
from tests.browser.test_access import settled
from tests.browser.test_first_visit import start_the_pocket_repair, wait_for_points

pytestmark = pytest.mark.skipif(not SCREENSHOTS, reason="pictures are taken by `make pictures`")

VIEWS = {
    "home": ("/", {}),
    "inspect": ("/inspect?run=example", {}),
    "feature": ("/inspect?run=example&feature=607&tab=feature", {}),
    "adapt": ("/adapt", {}),
    "phone": ("/inspect?run=example", {"phone": True}),
    "dark": ("/run?run=example", {"dark": True}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_the_example(visit, picture, name):
    path, look = VIEWS[name]
    seen = visit(path, **look)
    settled(seen.page)
    if name == "feature":
        expect(seen.page.get_by_text(re.compile("shared by both models"))).to_be_visible(timeout=60_000)
    picture(seen.page, name)
    seen.clean()


def test_a_run_at_work_and_then_the_runs_side_by_side(visit, lab, picture):
    seen = visit("/")
    page = seen.page
    run = start_the_pocket_repair(page)
    wait_for_points(page, 30)
    picture(page, "run")
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop and keep").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=120_000)
    page.goto(f"{lab.address}/runs")
    settled(page)
    picture(page, "runs")
    page.goto(f"{lab.address}/runs?compare={run},example")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=60_000)
    settled(page)
    picture(page, "compare")
    seen.clean()


def test_steering_four_lanes(visit, picture):
    seen = visit("/inspect?run=example&feature=607&tab=steer")
    settled(seen.page)
    seen.page.get_by_role("button", name="Write", exact=True).click()
    expect(seen.page.get_by_text(re.compile("original", re.I)).first).to_be_visible()
    seen.page.wait_for_function("() => document.querySelector('.lab-inspect [aria-busy=true]') === null", timeout=60_000)
    picture(seen.page, "steer")
    seen.clean()
