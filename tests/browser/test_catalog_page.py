"""The page of all SAEs as a person uses it: words, pasted names, filters, keyboard, phone, and the way to Adapt."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.test_access import LOOKS, accessible

PAPER = "gemma-scope-2b-pt-res / layer_12/width_16k/average_l0_82"


def rows(page: Page) -> list[str]:
    page.locator(".catalog-table tbody tr").first.wait_for()
    return page.locator(".catalog-table tbody tr").all_inner_texts()


def search(page: Page, words: str) -> None:
    with page.expect_response("**/lab/catalog/search*"):
        page.get_by_label("Search, or paste a name").fill(words)
    page.wait_for_timeout(50)


def test_words_narrow_the_list_and_the_address_keeps_them(visit: Callable[..., Visit]) -> None:
    seen = visit("/catalog")
    page = seen.page
    assert len(rows(page)) == 50
    expect(page.locator(".catalog-status")).to_contain_text("SAEs, 50 shown")
    search(page, "gemma-2-2b layer 12 16k residual l0 80")
    expect(page.locator(".catalog-table tbody tr").first).to_contain_text(PAPER)
    expect(page.locator(".catalog-table tbody tr").first).to_contain_text("model is gated")
    page.reload()
    expect(page.locator(".catalog-table tbody tr").first).to_contain_text(PAPER)
    search(page, "zebra crossing")
    expect(page.locator(".lab-empty")).to_contain_text("No SAE matches “zebra crossing”")
    page.get_by_role("button", name="Clear search and filters").click()
    assert len(rows(page)) == 50
    seen.clean()


def test_filters_count_and_more_rows_come_by_keyboard(visit: Callable[..., Visit]) -> None:
    seen = visit("/catalog")
    page = seen.page
    rows(page)
    page.get_by_role("button", name="GPT-2 small").click()
    expect(page.get_by_label("Filter by model")).to_have_value("openai-community/gpt2")
    expect(page.locator(".catalog-status")).to_have_text("123 SAEs, 50 shown.")
    more = page.get_by_role("button", name="Show 50 more")
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".catalog-status")).to_have_text("123 SAEs, 100 shown.")
    expect(page.locator(".catalog-table tbody tr").nth(50).get_by_role("link", name="Adapt around")).to_be_focused()
    page.get_by_label("Filter by site").select_option("MLP output")
    expect(page.locator(".catalog-status")).to_have_text("36 SAEs.")
    seen.clean()


def test_what_is_not_offered_is_counted_with_the_reason(visit: Callable[..., Visit]) -> None:
    seen = visit("/catalog?q=Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50")
    expect(seen.page.get_by_role("alert")).to_contain_text("published only as a pickle")
    seen.page.get_by_text("more are published and not offered").click()
    expect(seen.page.locator(".catalog-refused li").first).to_contain_text("transcoder")
    seen.clean()


def test_a_feature_pasted_from_neuronpedia_comes_along_to_adapt(visit: Callable[..., Visit]) -> None:
    seen = visit("/catalog")
    page = seen.page
    rows(page)
    search(page, "https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/4711")
    expect(page.locator(".catalog-status")).to_contain_text("Feature 4711 comes along")
    page.get_by_role("link", name=f"Adapt around {PAPER}").click()
    expect(page.locator("#adapt-sae input")).to_have_value(re.compile("16,384 features · L0 82 · layer_12.* · gemma-scope-2b-pt-res"))
    expect(page.get_by_text("Pinned features that are recorded too")).to_contain_text("#4711")
    expect(page.locator(".estimate-fetch")).to_contain_text("To fetch from the Hub first: about 10.8 GB")
    expect(page.get_by_role("link", name="accepted its licence")).to_have_attribute("href", "https://huggingface.co/google/gemma-2-2b")
    seen.clean()


def test_an_address_pasted_into_adapts_box_chooses_model_layer_and_sae(visit: Callable[..., Visit]) -> None:
    seen = visit("/adapt")
    page = seen.page
    page.wait_for_selector(".estimate-numbers")
    box = page.locator("#adapt-sae input")
    box.click()
    box.fill("https://huggingface.co/google/gemma-scope-2b-pt-res/blob/main/layer_12/width_16k/average_l0_82/params.npz")
    page.keyboard.press("Enter")
    expect(page.locator(".adapt-caption")).to_contain_text("The SAE sits after layer 12")
    expect(page.locator("#adapt-model input")).to_have_value("google/gemma-2-2b · 1,044 SAEs · gated, needs the Hub")
    expect(page.locator("#adapt-layer input")).to_have_value("12 · 72 SAEs")
    seen.clean()


@pytest.mark.parametrize("how", LOOKS.values(), ids=LOOKS)
def test_everybody_can_use_it(visit: Callable[..., Visit], picture: Callable[[Page, str], None], how: dict[str, bool]) -> None:
    seen = visit("/catalog?q=gemma+16k", **how)
    page = seen.page
    rows(page)
    page.get_by_text("more are published and not offered").click()
    for part in (".catalog-tools input", ".catalog-filters", ".catalog-table", ".catalog-refused"):
        box = page.locator(part).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= page.evaluate("innerWidth"), part
    picture(page, "catalog" + "".join(how))
    accessible(seen)


def test_filtering_is_felt_as_instant(visit: Callable[..., Visit]) -> None:
    seen = visit("/catalog")
    rows(seen.page)
    took = []
    for q in ("l0 82", "gemma 16k", "attention heads layer 3", "mlp"):
        began = time.perf_counter()
        seen.page.evaluate("(q) => fetch('/lab/catalog/search?q=' + encodeURIComponent(q)).then((answer) => answer.json())", q)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.15, took
    seen.clean()
