"""The gallery: what people published is searched, sorted, opened and measured; any other adapter is told for what it is."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from lorasae.store.durable import write_json
from lorasae.store.run_folder import EXAMPLE_FOLDER
from tests.browser.conftest import LabProcess, Visit
from tests.hub.server import LocalHub
from tests.test_gallery import card, published_run
from tests.web.test_gallery import foreign

SCOPE = {"release": "gemma-scope-2b-pt-res", "sae_id": "layer_12/width_16k/average_l0_82"}
OTHERS: dict[str, dict[str, Any]] = {
    "dora/gemma-2-2b-l12-repair": {
        "license": "gemma",
        "base_model": "google/gemma-2-2b",
        "lorasae": {
            "model": "google/gemma-2-2b",
            "saes": [{**SCOPE, "hook_point": "blocks.12.hook_resid_post", "d_sae": 16384, "l0": 80.4}],
            "rank": 64,
            "gap_closed": 0.713,
            "gap_closed_error": 0.008,
            "measured_again": True,
        },
    },
    "erin/an-adapter-with-a-card-of-her-own": {"license": "mit", "base_model": "meta-llama/Llama-3.1-8B"},
}  # fmt: skip


@pytest.fixture
def connected(hub: LocalHub, tmp_path: Path) -> Iterator[LabProcess]:
    """A lab that reaches the Hub, without a login."""
    environment = hub.environment(tmp_path / "cache") | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    lab = LabProcess(tmp_path / "home", {name: value for name, value in environment.items() if name.startswith("HF_")}).start()
    yield lab
    lab.stop()


@pytest.fixture
def published(hub: LocalHub, tmp_path: Path) -> LocalHub:
    """Three published adapters, and one that was made elsewhere."""
    (tmp_path / "made").mkdir()
    hub.publish(published_run(tmp_path / "made"), "carol/pocket-repair")
    for repo, front in OTHERS.items():
        hub.publish({"README.md": card(**front)}, repo, gated="auto" if repo.startswith("dora") else False)
    hub.publish(foreign(tmp_path / "tuned"), "bob/tuned")
    shutil.rmtree(tmp_path / "tuned")
    return hub


def names(page: Page) -> list[str]:
    return page.locator(".gallery-table tbody tr .gallery-name > a").all_inner_texts()


def test_adapters_are_searched_sorted_and_opened(
    connected: LabProcess, published: LocalHub, visit: Callable[..., Visit], picture: Callable[[Page, str], None]
) -> None:
    seen = visit("/", of=connected)
    page = seen.page
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Gallery").click()
    table = page.get_by_role("table", name="Published adapters")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(page).to_have_title("Gallery · LoRA-SAE Lab")
    picture(page, "gallery")
    pocket, gemma = table.get_by_role("row").filter(has_text="pocket-repair"), table.get_by_role("row").filter(has_text="l12-repair")
    expect(pocket).to_contain_text("54.7 % ± 1.6")
    expect(pocket).to_contain_text("by its author")
    expect(gemma).to_contain_text("layer 12, 16k wide, L0 80.4")
    expect(gemma).to_contain_text("gated")
    expect(gemma).to_contain_text("who measured the published files again")
    page.get_by_label("Order").select_option("best")
    assert names(page)[0] == "gemma-2-2b-l12-repair"
    search = page.get_by_role("searchbox", name="Search adapters")
    search.fill("layer 12 gemma")
    expect(table.get_by_role("row")).to_have_count(2)
    assert "sort=best" in page.url and "q=layer" in page.url
    page.reload()  # the address restores what was searched
    expect(search).to_have_value("layer 12 gemma")
    expect(table.get_by_role("row")).to_have_count(2)
    search.fill("nothing of that kind")
    page.get_by_role("button", name="Clear the search").press("Enter")
    expect(search).to_be_focused()
    expect(table.get_by_role("row")).to_have_count(4)
    page.get_by_role("button", name="Open carol/pocket-repair").press("Enter")  # by keyboard alone
    page.wait_for_url("**/run?run=2*")
    expect(page.locator("h1")).to_have_text("carol/pocket-repair")
    expect(page.locator(".result-big")).to_have_text("54.7 %")
    expect(page.locator(".run-head")).to_contain_text("This is the adapter carol/pocket-repair of carol, as it was published.")
    expect(page.get_by_role("link", name="Continue")).to_be_visible()
    page.goto(f"{connected.address}/gallery")
    here = page.get_by_role("region", name="In this lab")
    expect(here).to_contain_text("54.7 % ± 1.6 of the gap closed, by its author")
    expect(page.get_by_role("link", name="Go to carol/pocket-repair, which is open here")).to_be_visible()
    seen.clean()


def test_what_a_name_stands_for_is_found_out(
    connected: LabProcess, published: LocalHub, visit: Callable[..., Visit], picture: Callable[[Page, str], None]
) -> None:
    page = visit("/gallery", of=connected).page
    box = page.get_by_role("region", name="Open an adapter of the Hub")
    name = box.get_by_label("Open any adapter of the Hub by its name")
    name.fill("bob/nothing")
    name.press("Enter")
    expect(box.get_by_role("alert")).to_contain_text("repository on the Hub that you may see")
    name.fill(f"https://huggingface.co/{'bob/tuned'}/tree/main")
    name.press("Enter")
    expect(box).to_contain_text("bob/tuned is a LoRA adapter of the pocket model: rank 4 on q_proj, v_proj of 6 layers")
    box.get_by_label("Layer of the SAE").select_option("Layer 2")
    expect(box.get_by_label("SAE to look at it with")).to_contain_text("2,048 features")
    picture(page, "gallery-foreign")
    assert "continue=bob%2Ftuned%40" in (box.get_by_role("link", name="All settings").get_attribute("href") or "")
    box.get_by_role("button", name="Measure it").click()
    page.wait_for_url("**/run?run=2*")
    expect(page.locator("h1")).to_have_text("bob/tuned")
    expect(page.locator("body")).to_contain_text("begins with bob/tuned · nothing trained")


def test_a_number_measured_here_stands_beside_the_authors(
    published: LocalHub, connected: LabProcess, visit: Callable[..., Visit], picture: Callable[[Page, str], None]
) -> None:
    folder = connected.home / "runs" / "20260101-000000-b00001"
    shutil.copytree(EXAMPLE_FOLDER, folder)
    described, result = (json.loads((folder / name).read_text()) for name in ("config.json", "lorasae.json"))
    described["config"]["train"]["tokens"] = 0
    write_json(folder / "config.json", {**described, "run_id": folder.name})
    write_json(folder / "lorasae.json", {**result, "run_id": folder.name, "step": 0, "n_steps": 0})
    (folder / "start").mkdir()
    write_json(
        folder / "start" / "from.json", {"repo_id": "carol/pocket-repair", "commit": published.repo("carol/pocket-repair").oid_of("main")}
    )
    page = visit("/gallery", of=connected).page
    row = page.get_by_role("row").filter(has_text="pocket-repair")
    expect(row.get_by_role("link", name="54.7 % ± 1.6 measured here")).to_be_visible()
    expect(page.get_by_role("region", name="In this lab")).to_contain_text("of the gap closed, measured here")
    row.get_by_role("link", name="measured here").click()
    expect(page.locator("body")).to_contain_text("Nothing was trained in this run.")
    picture(page, "gallery-measured")


def test_a_finished_run_is_continued_with_its_settings_filled_in(
    connected: LabProcess, published: LocalHub, visit: Callable[..., Visit]
) -> None:
    page = visit("/gallery", of=connected).page
    page.get_by_role("button", name="Open carol/pocket-repair").click()
    page.wait_for_url("**/run?run=2*")
    run_id = page.url.partition("run=")[2]
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_text("The run goes on from the adapter of carol/pocket-repair, with its settings.")).to_be_visible()
    expect(page.get_by_role("button", name="Start the adaptation")).to_be_enabled()
    expect(page.locator("body")).to_contain_text(run_id)  # among what differs from the preset


@pytest.mark.parametrize("look", [{"dark": True}, {"phone": True}])
def test_it_is_for_everybody(
    connected: LabProcess, published: LocalHub, visit: Callable[..., Visit], picture: Callable[[Page, str], None], look: dict[str, bool]
) -> None:
    seen = visit("/gallery", of=connected, **look)
    page = seen.page
    expect(page.get_by_role("table", name="Published adapters")).to_be_visible()
    picture(page, f"gallery-{'-'.join(look)}")
    last = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Inspect").bounding_box()
    assert last is not None and last["x"] + last["width"] <= (390 if "phone" in look else 1280)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert not [each["id"] for each in found if each["impact"] in ("serious", "critical")]
    seen.clean()


def test_an_empty_gallery_names_the_next_click(connected: LabProcess, visit: Callable[..., Visit]) -> None:
    page = visit("/gallery", of=connected).page
    expect(page.get_by_text("Nobody has published an adapter yet")).to_be_visible()
    page.get_by_role("link", name="Go to your runs").click()
    page.wait_for_url("**/runs")
    page.get_by_role("link", name="Open a published adapter").click()
    page.wait_for_url("**/gallery")


def test_without_the_hub_the_page_says_so_and_works(
    lab: LabProcess, visit: Callable[..., Visit], picture: Callable[[Page, str], None]
) -> None:
    seen = visit("/gallery")  # the tests' own labs are offline
    expect(seen.page.get_by_role("alert")).to_contain_text("The Hub cannot be reached")
    expect(seen.page.get_by_role("link", name="Go to your runs")).to_be_visible()
    picture(seen.page, "gallery-offline")
    seen.clean()
