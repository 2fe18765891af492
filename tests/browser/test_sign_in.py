"""Signing in with Hugging Face as a visitor does it: looking first, then agreeing on the Hub's own page, then owning what one starts."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess
from tests.browser.test_first_visit import SOON, start_the_pocket_repair
from tests.hub.oauth import space_environment
from tests.hub.server import local_hub


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    """A lab in which people sign in, and a Hub with alice and bob on it."""
    folder = tmp_path_factory.mktemp("signed")
    with local_hub(folder / "hub") as hub:
        for user in ("alice", "bob"):
            hub.accounts.token(user)
        process = LabProcess(folder / "home", {"LORASAE_ACCESS": "sign-in", **space_environment(hub)}).start()
        yield process
        process.stop()


def agree(page: Page, user: str) -> None:
    """On the Hub's page."""
    page.get_by_role("button", name=f"Authorize as {user}").click()
    expect(page.get_by_role("button", name=user, exact=True)).to_be_visible(timeout=SOON)


def test_one_looks_around_signs_in_where_one_stands_and_owns_what_one_starts(visit, lab):
    page = visit("/").page
    page.get_by_role("button", name="Repair the pocket model").click()
    expect(page.get_by_role("alert").filter(has_text="You are not signed in")).to_be_visible()
    expect(page.get_by_text(re.compile("no account"))).to_have_count(0)
    page.goto(f"{lab.address}/runs?anything=kept")
    page.get_by_role("link", name="Sign in", exact=True).click()
    agree(page, "bob")
    assert page.url == f"{lab.address}/runs?anything=kept"

    page.goto(lab.address)
    run = start_the_pocket_repair(page)
    again, alice = visit("/runs").page, visit("/runs").page
    for other, user in ((again, "bob"), (alice, "alice")):
        other.get_by_role("link", name="Sign in", exact=True).click()
        agree(other, user)
    expect(again.locator(f'a[href*="{run}"]').first).to_be_visible(timeout=SOON)
    expect(alice.locator(f'a[href*="{run}"]')).to_have_count(0)

    again.get_by_role("button", name="bob", exact=True).click()
    again.get_by_role("button", name="Sign out").click()
    expect(again.get_by_role("link", name="Sign in", exact=True)).to_be_visible(timeout=SOON)
    expect(again.locator(f'a[href*="{run}"]')).to_have_count(0)
    status = page.evaluate("(run) => fetch(`/lab/runs/${run}/discard`, {method: 'POST'}).then((answer) => answer.status)", run)
    assert status == 200


def test_an_empty_gallery_leads_who_owns_nothing_to_the_example(visit):
    page = visit("/gallery").page
    expect(page.get_by_text(re.compile("Nobody has published an adapter yet|Nothing from the Hub is open"))).to_be_visible(timeout=SOON)
    expect(page.get_by_role("link", name="Go to your runs")).to_have_count(0)
    expect(page.get_by_role("link", name="Explore a finished example")).to_be_visible()


@pytest.mark.parametrize("phone", [False, True])
def test_the_way_to_sign_in_stands_apart_from_the_sentence_above_it(visit, phone: bool):
    page = visit("/", phone=phone).page
    page.get_by_role("button", name="Repair the pocket model").click()
    told = page.get_by_role("alert").filter(has_text="You are not signed in")
    expect(told).to_be_visible()
    room = """(box) => {
      const words = document.createRange();
      words.selectNode(box.firstChild);
      return box.querySelector("a").getBoundingClientRect().top - words.getBoundingClientRect().bottom;
    }"""
    assert told.evaluate(room) >= 8


def test_the_adapt_page_shows_what_a_run_would_take_before_one_signs_in(visit, lab):
    page = visit("/adapt?preset=quick").page
    expect(page.get_by_text("You are not signed in")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("heading", name="What it will take")).to_be_visible()
    expect(page.locator(".lab-estimate").get_by_text("steps", exact=True)).to_be_visible(timeout=SOON)
    page.get_by_text("A dataset on the Hub").click()  # nothing went wrong: a name is just missing, and one still has to sign in
    expect(page.get_by_role("status").filter(has_text="No dataset was named yet. Choose one under Text")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("alert").filter(has_text="dataset")).to_have_count(0)
    expect(page.get_by_role("alert").filter(has_text="You are not signed in")).to_be_visible()
    page.get_by_text("The pocket world", exact=True).click()
    expect(page.get_by_text("No dataset was named yet")).to_have_count(0, timeout=SOON)
    page.get_by_role("link", name="Sign in with Hugging Face").first.click()
    agree(page, "alice")
    assert "/adapt?" in page.url and "preset=quick" in page.url
    expect(page.get_by_role("button", name="Start the adaptation")).to_be_enabled(timeout=SOON)
