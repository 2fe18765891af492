"""What a first visitor does: press the button, watch the gap close, look inside, stop, compare, duplicate, resume, stop again."""

import re

from playwright.sync_api import Page, expect

SOON = 120_000  # the pocket model is loaded and measured first


def start_the_pocket_repair(page: Page) -> str:
    """Press Home's button; the id of the run it leads to."""
    page.get_by_role("button", name="Repair the pocket model").click()
    page.wait_for_url(re.compile(r"/run\?run="))
    return page.url.partition("run=")[2]


def points(page: Page) -> int:
    """How many points the chart of the training KL holds."""
    return page.evaluate(
        "Math.max(0, ...[...document.querySelectorAll('.js-plotly-plot')].map(p => Math.max(...p.data.map(t => t.x.length))))"
    )


def wait_for_points(page: Page, more_than: int) -> int:
    page.wait_for_function(
        "n => Math.max(0, ...[...document.querySelectorAll('.js-plotly-plot')].map(p => Math.max(...p.data.map(t => t.x.length)))) > n",
        arg=more_than,
        timeout=SOON,
    )
    return points(page)


def test_from_the_first_click_to_a_shared_link(visit, lab):
    seen = visit("/")
    page = seen.page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    run = start_the_pocket_repair(page)

    # It trains, and the chart grows by itself.
    expect(page.get_by_text("Training the adapter").first).to_be_visible(timeout=SOON)
    seen_points = wait_for_points(page, 3)
    assert wait_for_points(page, seen_points) > seen_points
    expect(page.locator(".gap svg")).to_have_attribute("aria-label", re.compile("original"))

    # A reload in mid-run shows the same run with its whole history.
    page.reload()
    assert wait_for_points(page, seen_points) > seen_points

    # Stop and keep: measured and saved like a finished run.
    page.get_by_role("button", name="Stop…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Continue")).to_be_visible()
    dialog.get_by_role("button", name="Stop and keep").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=SOON)
    expect(page.locator(".gap svg")).to_have_attribute("aria-label", re.compile("adapted"))

    # Look inside: the token the SAE hurts most is named and can be jumped to.
    page.get_by_role("link", name="Look inside").click()
    page.wait_for_url(re.compile(rf"/inspect\?run={run}"))
    expect(page.get_by_text(re.compile("hurts most"))).to_be_visible(timeout=SOON)

    # Compare it with the example.
    page.goto(f"{lab.address}/runs?compare={run},example")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=SOON)
    expect(page.get_by_role("table").first).to_be_visible()

    # Duplicate: the form opens with the run's settings.
    page.goto(f"{lab.address}/run?run={run}")
    page.get_by_role("link", name="Duplicate").click()
    page.wait_for_url(re.compile(r"/adapt\?from="))
    expect(page.get_by_role("button", name="Start the adaptation")).to_be_enabled(timeout=SOON)

    # Resume, then stop again from where it went on.
    page.goto(f"{lab.address}/run?run={run}")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Stop…")).to_be_visible(timeout=SOON)
    expect(page.get_by_text("Training the adapter").first).to_be_visible(timeout=SOON)
    seen.clean()
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    page.wait_for_url(re.compile("/runs"))
