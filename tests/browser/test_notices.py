"""A Space that forgets says so on every page: readable in light, dark and on a phone, by keyboard, until the visitor has read it."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import LabProcess

SPACE = {"SYSTEM": "spaces", "SPACE_ID": "alice/lab", "SPACE_HOST": "alice-lab.hf.space", "LORASAE_HOST": "127.0.0.1"}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    process = LabProcess(tmp_path_factory.mktemp("space") / "home", {**SPACE, "LORASAE_ACCESS": "visitors"}).start()
    yield process
    process.stop()


@pytest.mark.parametrize("path", ["/", "/adapt", "/catalog", "/runs", "/run?run=example", "/inspect"])
def test_every_page_says_that_runs_are_lost_and_asks_nobody_else(visit, space, path):
    seen = visit(path, of=space)
    notice = seen.page.get_by_role("region", name="About this lab")
    expect(notice).to_contain_text("Runs are lost when this Space restarts")
    link = notice.get_by_role("link")
    assert link.get_attribute("href") == "https://huggingface.co/spaces/alice/lab/blob/main/docs/space.md#storage"
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener")
    seen.page.wait_for_timeout(500)
    seen.clean()


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"phone": True}], ids=["light", "dark", "phone"])
def test_it_can_be_read_by_everybody(visit, space, look):
    page = visit("/", of=space, **look).page
    page.wait_for_selector(".lab-notice")
    found = Axe().run(page, context=".lab-notices").response
    assert [each["id"] for each in found["violations"]] == []
    assert any(each["id"] == "color-contrast" for each in found["passes"])
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_once_read_it_stays_away_for_this_tab_and_the_keyboard_is_not_lost(visit, space):
    page = visit("/", of=space).page
    hide = page.get_by_role("button", name="Hide: Runs are lost")
    hide.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".lab-notices")).to_have_count(0)
    assert page.evaluate("document.activeElement.matches('main.contain')")
    page.goto(f"{space.address}/runs")
    page.wait_for_selector(".lab-brand")
    page.wait_for_timeout(800)
    expect(page.locator(".lab-notices")).to_have_count(0)
    other = visit("/runs", of=space).page
    expect(other.locator(".lab-notice")).to_have_count(1)


def test_a_lab_on_ones_own_machine_has_none(visit):
    page = visit("/").page
    page.wait_for_selector(".lab-brand")
    page.wait_for_timeout(500)
    expect(page.locator(".lab-notices")).to_have_count(0)
