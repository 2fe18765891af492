"""Looking inside: where the SAE hurts and the adapter heals, token by token and feature by feature, on the example run."""

import json
import re
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_access import LOOKS, accessible, settled

SOON = 120_000  # the first question loads torch and the model
ABOVE = {"release": "pocket-scope", "sae_id": "layer_4/width_2k/average_l0_17"}  # above the adapter's lowest layer: features change
OWN = {"release": "pocket-scope", "sae_id": "layer_2/width_2k/average_l0_17"}  # the one the example was adapted to, below its adapter
KITE = "Anna lost her red kite at the harbour.\nThe wind was strong."


def inspect(visit, *, phone=False, dark=False, **query):
    """The page Inspect with its first answer."""
    seen = visit(f"/inspect?{urlencode(query)}", phone=phone, dark=dark)
    expect(seen.page.locator(".damage-words")).to_be_visible(timeout=SOON)
    return seen


def tokens(page: Page, pane: str = "before"):
    return page.locator(f".heat-pane[data-pane={pane}] [role=option]")


def card(page: Page):
    return page.get_by_role("region", name="The chosen token")


def known(page: Page) -> None:
    """The pass over held-out text is through: labels and fates are there."""
    expect(page.locator(".features-fate").first).to_be_visible(timeout=SOON)


def test_without_a_choice_the_example_opens_and_says_where_the_sae_hurts_most(visit, picture):
    seen = inspect(visit)
    expect(seen.page.locator(".damage-words")).to_contain_text(re.compile(r"hurts most after “.+” \(KL \d+\.\d\d\)"))
    expect(card(seen.page)).to_contain_text("Original + SAE expects")
    assert "run=example" in seen.page.url
    known(seen.page)
    picture(seen.page, "inspect")
    seen.clean()


def test_the_named_token_is_one_click_away_and_is_outlined_in_all_panes(visit):
    page = inspect(visit, text=KITE).page
    tokens(page).nth(3).click()
    page.locator(".damage-jump").first.click()
    worst = page.locator(".damage-jump").first.get_attribute("title").removeprefix("Go to token ")
    expect(page.locator(".heat-token.chosen")).to_have_count(3)
    expect(card(page)).to_contain_text(f"token {worst} of")
    page.wait_for_url(re.compile(f"token={worst}"))


def test_the_numbers_of_a_token_are_those_that_the_lab_measured(visit, lab):
    page = inspect(visit, text=KITE, **ABOVE).page
    answer = page.request.get(f"{lab.address}/lab/runs/example/compare?{urlencode({'text': KITE, **ABOVE})}").json()
    assert tokens(page).count() == len(answer["tokens"])
    tokens(page).nth(5).click()
    expect(card(page)).to_contain_text(f"KL {answer['tokens'][5]['kl_before']:.2f} → {answer['tokens'][5]['kl_after']:.2f}")
    kls = [(token["kl_before"], position) for position, token in enumerate(answer["tokens"]) if token["scored"]]
    assert page.locator(".damage-jump").first.get_attribute("title") == f"Go to token {max(kls)[1]}"


def test_arrow_keys_walk_through_features_and_the_panes_follow_at_once(visit):
    seen = inspect(visit, text=KITE, **ABOVE)
    page = seen.page
    page.locator("[data-feature]").first.click()
    first = page.locator(".featurebar h2").inner_text()
    took = page.evaluate(
        """() => {
            const list = document.querySelector('.features-list'), times = [];
            for (let i = 0; i < 5; i++) {
                const start = performance.now();
                document.activeElement.closest('[data-feature]') ?? list.querySelector('[aria-selected=true]').focus();
                document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true, cancelable: true}));
                document.querySelector('.heat').offsetHeight;
                times.push(performance.now() - start);
            }
            return Math.min(...times);
        }"""
    )
    assert took < 150
    assert page.locator(".featurebar h2").inner_text() != first
    feature = page.locator("[data-feature][aria-selected=true]").get_attribute("data-feature")
    page.wait_for_url(re.compile(f"feature={feature}"))
    seen.clean()


def test_a_link_restores_text_sae_feature_token_and_tab(visit):
    page = inspect(visit, text=KITE, token=4, **ABOVE).page
    known(page)
    page.locator("[data-feature]").nth(2).click()
    page.get_by_role("tab", name="Feature").click()
    page.wait_for_url(re.compile("tab=feature"))
    again = inspect(visit, **dict(parse_qsl(urlsplit(page.url).query))).page
    expect(again.get_by_role("textbox", name="Text", exact=True)).to_have_value(KITE)
    expect(again.locator(".featurebar h2")).to_have_text(page.locator(".featurebar h2").text_content())
    expect(again.get_by_role("tab", name="Feature")).to_have_attribute("aria-selected", "true")
    expect(again.locator(".heat-pane[data-pane=before] .chosen")).to_have_attribute("data-index", "4")


def test_arrows_walk_along_the_tokens_with_one_stop_for_tab(visit):
    page = inspect(visit, text=KITE).page
    tokens(page, "after").nth(2).click()
    page.keyboard.press("ArrowRight")
    expect(card(page)).to_contain_text("token 3 of")
    page.keyboard.press("End")
    expect(tokens(page, "after").last).to_be_focused()
    page.keyboard.press("Home")
    expect(tokens(page, "after").first).to_be_focused()
    assert page.locator(".heat-pane[data-pane=after] [tabindex='0'][role=option]").count() == 1
    assert re.search(r"KL \d", tokens(page, "after").nth(3).get_attribute("aria-label"))


def test_special_tokens_count_only_when_asked(visit):
    page = inspect(visit, text=KITE).page
    expect(tokens(page).first).to_have_class(re.compile("aside"))
    page.get_by_label("Count special tokens").check()
    expect(tokens(page).first).not_to_have_class(re.compile("aside"))


def test_below_the_adapter_the_page_says_why_nothing_changes_and_leads_above(visit):
    seen = inspect(visit, text=KITE, **OWN)
    page = seen.page
    note = page.get_by_role("note").filter(has_text="These features cannot change")
    expect(page.locator(".features-row .features-label.none").first).to_have_text(re.compile(r"^fires on .+ % of tokens$"), timeout=SOON)
    assert page.locator(".features-fate").count() == 0  # nothing could have become of them
    note.get_by_role("button").first.click()
    page.wait_for_url(re.compile("layer_4"))
    expect(note).to_have_count(0)
    expect(page.locator(".picker-now")).to_contain_text("Layer 4")
    seen.clean()


def test_without_a_named_sae_the_page_opens_where_features_can_change_and_the_run_s_own_is_one_click_away(visit):
    page = inspect(visit, text=KITE).page
    stream = page.locator(".inspect-stream")
    expect(stream).to_contain_text("In the stream: layer 2")
    expect(stream).to_contain_text("You look through: layer 4")
    expect(stream).to_contain_text("so features cannot change there; at layer 4 they can")
    assert "layer_4" in page.url
    stream.get_by_role("button", name="Look through the run's own SAE").click()
    page.wait_for_url(re.compile("layer_2"))
    expect(stream).to_contain_text("You look through the same one.")
    page.reload()
    expect(page.locator(".picker-now")).to_contain_text("Layer 2", timeout=SOON)


def test_text_that_the_model_does_not_know_is_told_first_and_the_samples_are_at_hand(visit):
    page = inspect(visit, text="Müller saw a red kite in Paris.", **ABOVE).page
    note = page.get_by_role("note").filter(has_text="The model itself does not know text like this")
    expect(note).to_contain_text(re.compile(r"surprise is \d+\.\d\d per token, 0\.\d\d on text it knows"))
    note.get_by_role("button", name="A poem").click()
    expect(note).to_have_count(0)
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value(re.compile("Now Martin is home"))


def test_a_letter_split_over_tokens_is_shown_as_bytes_that_name_it(visit):
    page = inspect(visit, text="Müller", **ABOVE).page
    expect(page.locator(".heat-pane[data-pane=before] .heat-text")).to_contain_text("M⟨C3⟩⟨BC⟩")
    expect(tokens(page).nth(2)).to_have_attribute("title", "a part of the letter ü")
    tokens(page).nth(2).click()
    expect(card(page)).to_contain_text("a part of the letter ü")
    assert "\ufffd" not in page.locator(".inspect").inner_text()


def test_the_list_says_in_words_what_is_hidden_and_why_a_feature_has_no_fate(visit):
    page = inspect(visit, text=KITE, **ABOVE).page
    known(page)
    expect(page.locator(".features")).to_contain_text(
        re.compile(r"\d+ listed\. \d+ that fires? on more than \d+ % of tokens (is|are) hidden")
    )
    titles = page.locator(".features-fate").evaluate_all("all => all.map(({ title }) => title)")
    assert len(titles) == page.locator(".features-row").count() and all(titles)
    page.locator(".features-row", has=page.locator(".features-fate[data-fate]")).first.click()
    page.locator(".featurebar .lab-term").last.click()
    expect(page.get_by_role("dialog")).to_contain_text("kept, shifted, lost, new")


def test_the_run_s_number_is_the_first_thing_in_its_field(visit):
    page = inspect(visit, text=KITE, **ABOVE).page
    assert re.match(r"\d+\.\d % closed · ", page.get_by_label("Run", exact=True).locator("option:checked").inner_text())


def test_the_name_of_the_sae_in_the_stream_has_room_beside_its_badge(visit):
    page = inspect(visit, text=KITE, **ABOVE).page
    page.get_by_role("button", name=re.compile("SAE to look through")).click()
    name = page.get_by_role("option", name=re.compile("in the stream")).locator(".picker-id")
    assert name.bounding_box()["height"] < 30


def test_the_sae_is_found_by_layer_and_width_from_the_keyboard(visit):
    page = inspect(visit, text=KITE).page
    page.get_by_role("button", name=re.compile("SAE to look through")).press("ArrowDown")
    page.keyboard.type("layer 1 512 l0 6")
    expect(page.get_by_role("listbox", name="SAEs of this model").get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("layer_1%2Fwidth_512%2Faverage_l0_6"))


def test_a_token_turns_the_list_to_what_fires_there(visit):
    page = inspect(visit, text=KITE, **ABOVE).page
    tokens(page).nth(5).click()
    expect(page.get_by_label("Sort features")).to_have_value("token")
    expect(page.locator(".features")).to_contain_text(re.compile(r"\d+ fires? at"))


def test_any_feature_is_opened_by_its_number(visit):
    page = inspect(visit, text=KITE, **ABOVE).page
    search = page.get_by_label("Search features by number or label")
    search.fill("2047")
    search.press("Enter")
    expect(page.locator(".featurebar h2")).to_contain_text("Feature 2047")


def test_a_feature_shows_both_models_on_held_out_text(visit, picture):
    seen = inspect(visit, text=KITE, tab="feature", feature=1774, **ABOVE)
    page = seen.page
    expect(page.locator(".histogram svg")).to_be_visible(timeout=SOON)
    expect(page.locator(".examples")).to_contain_text(re.compile(r"\d+ of \d+ are shared"))
    expect(page.locator(".feature-numbers")).to_contain_text("Correlation")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("region", name="Histogram as a table")).to_contain_text("Tokens before")
    picture(page, "feature")
    seen.clean()


def test_steering_writes_four_texts_and_at_strength_zero_changes_nothing(visit, picture):
    seen = inspect(visit, text=KITE, tab="steer", feature=1774, prompt="Anna found", strength=0, n_tokens=12, **ABOVE)
    page = seen.page
    write = page.get_by_role("button", name="Write")
    lanes = [page.get_by_role("region", name=f"{model} model, {how}") for model in ("Original", "Adapted") for how in ("plain", "steered")]
    write.click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=SOON)
    texts = [lane.inner_text() for lane in lanes]
    assert all(text.startswith("Anna found ") and len(text) > 12 for text in texts)
    assert texts[0] == texts[1] and texts[2] == texts[3]
    assert page.locator(".steer mark").count() == 0
    page.get_by_label("Strength").press("End")
    write.click()
    expect(page.get_by_text("Done.")).to_be_visible(timeout=SOON)
    expect(page.locator(".steer mark").first).to_be_visible()
    page.wait_for_url(re.compile("strength=2"))
    picture(page, "steer")
    seen.clean()


def test_a_push_that_changes_no_word_says_so_and_offers_a_harder_one(visit):
    page = inspect(visit, text=KITE, tab="steer", feature=1774, prompt="Anna found", strength=0.05, n_tokens=6, **ABOVE).page
    page.get_by_role("button", name="Write").click()
    verdict = page.locator(".steer-verdict")
    expect(verdict).to_contain_text("No word changed: push harder", timeout=SOON)
    verdict.get_by_role("button", name="Push harder (+0.10 ×)").click()
    page.wait_for_url(re.compile("strength=0.1"))
    expect(page.get_by_text("Done.")).to_be_visible(timeout=SOON)
    page.get_by_label("Strength").press("End")
    page.get_by_role("button", name="Write").click()
    expect(verdict).to_contain_text("marked", timeout=SOON)
    expect(page.locator("[data-how=plain] mark").first).to_be_visible()
    expect(page.locator("[data-how=steered] mark").first).to_be_visible()


HOSTILE = "<img src=x onerror=\"document.title='hit'\"></textarea><script>document.title='hit'</script>{{7*7}} ${7*7}\u202e\n\t end"


def test_hostile_text_stays_text_everywhere(visit):
    seen = inspect(visit, text=HOSTILE)
    page = seen.page
    shown = page.locator(".heat-pane[data-pane=before] .heat-text").inner_text()
    assert "<img" in shown and "</script>" in shown and "\u202e" not in shown
    assert page.locator(".inspect img, .inspect script").count() == 0
    assert "hit" not in page.title()
    seen.clean()


def test_nothing_typed_is_lost_when_the_lab_refuses(visit):
    page = inspect(visit, text=KITE).page
    page.route("**/compare?*", lambda route: route.fulfill(status=503, body=json.dumps({"problem": "The lab was busy."})))
    page.get_by_role("textbox", name="Text", exact=True).fill("My own words")
    page.get_by_role("button", name="Look inside", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The lab was busy.")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value("My own words")
    expect(page.locator(".heat")).to_be_visible()


def test_a_run_that_is_not_ones_own_leads_back(visit):
    page = visit("/inspect?run=20200101-000000-abcdef").page
    expect(page.get_by_role("alert")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("link", name="Look into the example")).to_be_visible()


def test_on_a_phone_panes_stack_and_a_tap_shows_the_token(visit, picture):
    seen = inspect(visit, phone=True, text=KITE)
    page = seen.page
    tokens(page).nth(4).tap()
    expect(card(page)).to_contain_text("token 4 of")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = [page.locator(f".heat-pane[data-pane={pane}]").bounding_box()["y"] for pane in ("before", "after", "change")]
    assert tops == sorted(tops) and len(set(tops)) == 3
    box = card(page).bounding_box()
    assert box["y"] + box["height"] <= 844  # it stays in the window while the panes scroll
    picture(page, "inspect-phone")
    seen.clean()


def test_on_a_phone_a_button_leads_to_the_features_and_a_choice_leads_back(visit):
    page = inspect(visit, phone=True, text=KITE, **ABOVE).page
    page.get_by_role("button", name="Choose a feature").tap()
    expect(page.locator(".features-row").first).to_be_in_viewport()
    page.locator(".features-row").first.tap()
    expect(page.locator(".featurebar h2")).to_contain_text("Feature")
    expect(page.locator(".heat-pane[data-pane=before]")).to_be_in_viewport()
    expect(page.locator(".features-row").first).not_to_be_in_viewport()
    expect(page.get_by_role("button", name="Choose another feature")).to_be_visible()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("tab", ["tokens", "feature", "steer"])
def test_every_tab_is_for_everybody(visit, look, tab):
    seen = inspect(visit, **LOOKS[look], tab=tab, feature=1774, text=KITE, **ABOVE)
    known(seen.page)
    if tab == "feature":
        expect(seen.page.locator(".histogram svg")).to_be_visible(timeout=SOON)
    settled(seen.page)
    accessible(seen)


@pytest.mark.parametrize("look", LOOKS)
def test_so_is_the_replay(visit, look):
    seen = visit(f"/inspect?{urlencode({'tab': 'replay', 'text': KITE, **ABOVE})}", **LOOKS[look])
    expect(seen.page.get_by_role("slider", name="Training step")).to_be_visible(timeout=SOON)
    settled(seen.page)
    accessible(seen)
