"""Every page for everybody: no serious accessibility finding in light, dark and on a phone; nothing too wide."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit

PAGES = {
    "home": "/",
    "adapt": "/adapt",
    "runs": "/runs",
    "gallery": "/gallery",
    "run": "/run?run=example",
    "compare": "/runs?compare=example,example",
}  # and the catalogue in test_catalog_page.py, Inspect in test_inspect.py, where the inspection process is at hand
LOOKS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}


def settled(page: Page) -> None:
    """Until every view on the page shows what it is about."""
    page.wait_for_function("() => document.querySelector('[data-lab]')?.textContent.trim()", timeout=60_000)
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], [class*=skeleton]')", timeout=60_000)
    page.wait_for_timeout(700)


def accessible(seen: Visit) -> None:
    """No serious finding of axe, nothing wider than the screen, no trouble on the way."""
    found = Axe().run(seen.page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [
        f"{finding['id']}: {finding['help']}: {[(node['target'], node.get('failureSummary')) for node in finding['nodes']][:3]}"
        for finding in found
        if finding["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)
    wider = seen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wider <= 0, f"the page is {wider} pixels wider than the screen"
    seen.clean()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_no_serious_accessibility_finding(visit, name, look):
    seen = visit(PAGES[name], **LOOKS[look])
    settled(seen.page)
    accessible(seen)


def test_the_theme_can_be_chosen_and_is_kept(visit):
    page = visit("/").page
    expect(page.locator("body")).not_to_have_class("dark")
    page.get_by_role("radio", name="Dark").or_(page.get_by_role("button", name="Dark")).first.click()
    page.reload()
    page.wait_for_function("document.body.classList.contains('dark')")
