"""A run goes from its page to the Hub: looked at before, pushed, downloaded again and measured, and the page says where it lies."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from lorasae.store.durable import write_json
from lorasae.store.run_folder import EXAMPLE_FOLDER
from tests.browser.conftest import LabProcess, Visit
from tests.browser.contrast import contrast_of_fields
from tests.hub.server import LocalHub

RUN_ID = "20260101-000000-b00001"
TOKEN = "test-token-that-must-be-nowhere"
REPO = "alice/pocket-adapter"


@pytest.fixture
def published_from(hub: LocalHub, tmp_path: Path) -> Iterator[LabProcess]:
    """A lab of somebody who is logged in to the Hub, with a finished run."""
    folder = tmp_path / "home" / "runs" / RUN_ID
    shutil.copytree(EXAMPLE_FOLDER, folder)
    for name in ("config.json", "lorasae.json"):
        write_json(folder / name, {**json.loads((folder / name).read_text()), "run_id": RUN_ID})
    environment = hub.environment(tmp_path / "cache", hub.accounts.token("alice", value=TOKEN)) | {"HF_HUB_OFFLINE": "0"}
    lab = LabProcess(tmp_path / "home", {name: value for name, value in environment.items() if name.startswith("HF_")}).start()
    yield lab
    lab.stop()


def test_a_run_is_published_from_its_page(
    published_from: LabProcess, hub: LocalHub, visit: Callable[..., Visit], picture: Callable[[Page, str], None], tmp_path: Path
) -> None:
    seen = visit(f"/run?run={RUN_ID}", of=published_from, dark=True, phone=True)
    page = seen.page
    section = page.get_by_role("region", name="Publish", exact=True)
    section.get_by_label("Name on the Hub").fill("no slash")
    assert min(contrast_of_fields(page).values()) >= 4.5
    section.get_by_role("button", name="Publish", exact=True).click()
    assert not hub.asked("POST")  # the browser itself says what is wrong with the name
    section.get_by_label("Name on the Hub").fill(REPO)
    look = section.get_by_role("button", name="See what would be published")
    look.press("Enter")
    card = page.get_by_role("dialog", name=REPO).get_by_role("region", name="The card as it would be published")
    expect(card.locator("td", has_text="54.7 % ± 1.6")).to_be_visible()
    expect(card.get_by_role("img", name="The four conditions")).to_be_visible()
    expect(card).not_to_contain_text("base_model:")
    picture(page, "publish")
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.keyboard.press("Escape")
    expect(look).to_be_focused()
    section.get_by_role("button", name="Publish", exact=True).press("Enter")
    link = section.get_by_role("link", name=REPO)
    expect(link).to_be_focused(timeout=120_000)  # whoever pressed the button hears how it ended
    expect(section).to_contain_text("Downloaded again, it measured the same.")
    hub.publish({"notes.md": b"x"}, "alice/notes")
    section.get_by_label("Name on the Hub").fill("https://huggingface.co/alice/notes")
    section.get_by_label("Name on the Hub").press("Enter")
    expect(section.get_by_role("alert")).to_contain_text("published as alice/notes. That repository holds something else")
    expect(section).to_contain_text(f"Published: {REPO}. Downloaded again")
    card = (hub.repo(REPO).content("main", "README.md") or b"").decode()
    assert "## Measured again after publishing" in card
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert not kept and TOKEN not in published_from.log() and not any(TOKEN in asking.url for asking in hub.log)
    seen.clean()
