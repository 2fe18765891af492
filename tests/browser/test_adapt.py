"""The Adapt page as a person uses it: choosing by box, map and keyboard, being told what is wrong, links, and the start."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import LabProcess, Visit


def ready(page: Page) -> None:
    """The page has taken its address in and listed the models."""
    page.wait_for_selector(".estimate-numbers, .estimate .lab-note")
    page.locator("#adapt-model input").click()
    page.get_by_role("option", name="google/gemma-2-2b", exact=False).first.wait_for(timeout=60_000)
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)  # leaving the box asks the lab once more; its answer must not come after that of the next touch


def box(page: Page, name: str) -> str:
    return page.locator(f"#adapt-{name} :is(input, textarea)").first.input_value()


def problem(page: Page, sentence: str) -> Locator:
    return page.locator(".lab-formproblem", has_text=sentence)


def test_the_picture_follows_what_is_chosen_by_box_map_and_keyboard(
    visit: Callable[..., Visit], picture: Callable[[Page, str], None]
) -> None:
    seen = visit("/adapt")
    page, caption = seen.page, seen.page.locator(".adapt-caption")
    ready(page)
    expect(caption).to_contain_text("after layer 2. LoRA of rank 16 on layers 3–5: 165,888 trained numbers")
    picture(page, "adapt")
    page.locator("#adapt-layer input").click()
    page.get_by_role("option", name="1 · 6 SAEs").click()
    expect(caption).to_contain_text("after layer 1. LoRA of rank 16 on layers 2–5")
    page.locator('.saemap-mark[data-name="pocket-scope / layer_1/width_512/average_l0_6"]').click()
    expect(page.locator("#adapt-sae input")).to_have_value(
        "512 features · L0 6.11 · layer_1/width_512/average_l0_6 · after the layer · pocket-scope"
    )
    page.locator(".saemap-mark[aria-checked=true]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    chosen = page.locator(".saemap-mark[aria-checked=true]")
    expect(chosen).to_have_attribute("data-name", "pocket-scope / layer_1/width_512/average_l0_18")
    expect(chosen).to_be_focused()
    seen.clean()


def test_a_known_dataset_fills_in_the_boxes_and_the_run(visit: Callable[..., Visit]) -> None:
    seen = visit("/adapt")
    page = seen.page
    ready(page)
    page.get_by_label("A dataset on the Hub").check()
    page.locator("#adapt-dataset input").click()
    page.get_by_role("option", name="FineWeb", exact=False).click()
    expect(page.locator("#adapt-data-source textarea, #adapt-data-source input").first).to_have_value("HuggingFaceFW/fineweb")
    expect(page.locator("#adapt-data-config_name textarea, #adapt-data-config_name input").first).to_have_value("sample-10BT")
    expect(page.locator("#adapt-start")).to_be_enabled()
    page.locator("#adapt-dataset input").click()
    page.get_by_role("option", name="The Pile", exact=False).click()
    expect(page.locator("#adapt-data-source textarea, #adapt-data-source input").first).to_have_value("monology/pile-uncopyrighted")
    expect(page.locator("#adapt-data-config_name textarea, #adapt-data-config_name input").first).to_have_value("")
    seen.clean()


def test_a_late_answer_about_another_box_hides_nothing_that_was_shown_meanwhile(visit: Callable[..., Visit]) -> None:
    seen = visit("/adapt")
    page = seen.page
    ready(page)
    page.get_by_text("Every setting", exact=True).click()
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        held.append(route) if not held else route.continue_()

    page.route("**/gradio_api/run/**", hold_the_first)
    fill(page, "adapter-rank", "8")
    page.get_by_label("A dataset on the Hub").check()
    dataset = page.locator("#adapt-dataset input")
    expect(dataset).to_be_visible()
    with page.expect_response("**/gradio_api/run/**"):
        held[0].continue_()
    expect(page.locator("#adapt-adapter-alpha")).to_contain_text("= 4.")
    expect(dataset).to_be_visible()
    seen.clean()


def test_what_is_wrong_is_told_beside_the_button_and_one_press_mends_it(visit: Callable[..., Visit]) -> None:
    seen = visit("/adapt")
    page, start = seen.page, seen.page.locator("#adapt-start")
    ready(page)
    page.get_by_label("As in the paper").check()
    expect(page.get_by_text("Shortened to 256 tokens per sequence, all that the pocket model knows.")).to_be_visible()
    expect(start).to_be_enabled()
    expect(page.locator(".adapt-diff tbody tr")).to_have_text(["Tokens per sequence1,024256Take back"])
    link = page.url
    page.goto(link)
    expect(page.locator(".adapt-diff tbody tr")).to_have_text(["Tokens per sequence1,024256Take back"])
    page.get_by_role("button", name="Take back Tokens per sequence").click()
    expect(page.locator(".lab-formproblem")).to_contain_text("The model knows positions up to 256")
    expect(start).to_be_disabled()
    expect(start).to_have_text("Not ready yet: see above")
    page.get_by_role("button", name="Set “Tokens per sequence” to 256").click()
    expect(start).to_be_enabled()
    seen.clean()


def fill(page: Page, name: str, value: str) -> None:
    page.locator(f"#adapt-{name} input").first.fill(value)
    page.locator(f"#adapt-{name} input").first.blur()


def test_what_will_hardly_be_meant_is_warned_of_and_the_scale_follows_the_rank(visit: Callable[..., Visit]) -> None:
    seen = visit("/adapt")
    page, start = seen.page, seen.page.locator("#adapt-start")
    ready(page)
    page.get_by_text("Every setting", exact=True).click()
    fill(page, "adapter-rank", "-1.5")
    expect(problem(page, "Rank = -1.5 was given. It must be a whole number.")).to_be_visible()
    fill(page, "adapter-rank", "64")
    expect(page.locator("#adapt-adapter-alpha")).to_contain_text("Here it is 32 / 64 = 0.5.")
    page.get_by_role("button", name="Set Alpha to 128 to keep the scale").click()
    expect(page.locator("#adapt-adapter-alpha")).to_contain_text("Here it is 128 / 64 = 2.")
    fill(page, "train-learning_rate", "5")
    expect(page.locator(".adapt-warning")).to_contain_text("A learning rate of 5 is far too high")
    page.get_by_role("button", name="Set “Learning rate” to 0.004").click()
    expect(page.locator(".adapt-warning")).to_have_count(0)
    fill(page, "train-tokens", "1000000000000")
    expect(page.locator(".adapt-warning")).to_contain_text("years on this machine")
    expect(page.locator(".estimate-numbers")).to_contain_text("976.6 million")
    expect(start).to_be_enabled()
    fill(page, "train-tokens_per_step", "1000")
    page.get_by_role("button", name="Set “Tokens per step” to 1,024").click()
    expect(start).to_be_enabled()
    seen.clean()


def test_the_text_of_a_chosen_sae_ends_before_its_arrow(visit: Callable[..., Visit]) -> None:
    page = visit("/adapt").page
    ready(page)
    room = """(box) => {
      const input = box.querySelector("input"), arrow = box.querySelector(".icon-wrap").getBoundingClientRect();
      return arrow.left - (input.getBoundingClientRect().right - parseFloat(getComputedStyle(input).paddingRight));
    }"""
    for name in ("model", "layer", "sae"):
        assert page.locator(f"#adapt-{name}").evaluate(room) >= 0


def test_a_bad_file_a_bad_yaml_and_a_mistyped_name_cost_nothing(visit: Callable[..., Visit], tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"a\0b")
    (tmp_path / "good.jsonl").write_text('{"body": "One day <b>a cat</b> sat."}\n' * 3)
    seen = visit("/adapt")
    page = seen.page
    ready(page)
    page.get_by_label("A file of mine").check()
    upload = page.locator("#adapt-upload input[type=file]")
    upload.set_input_files(tmp_path / "bad.txt")
    expect(page.get_by_text("It holds zero bytes")).to_be_visible()
    upload.set_input_files(tmp_path / "good.jsonl")
    expect(page.get_by_text("good.jsonl is kept: 114 bytes, 3 documents.")).to_be_visible()
    too_little = problem(page, "The text good.jsonl was given. It has 75 bytes of text in 3 documents: about 18 tokens.")
    expect(too_little).to_contain_text("Give more text, or fewer tokens per sequence")
    expect(page.locator("#adapt-start")).to_be_disabled()
    expect(page.locator("#adapt-data-column :is(input, textarea)").first).to_have_value("body")
    page.get_by_text("As YAML, and from a terminal").click()
    yaml = page.locator("#adapt-yaml textarea")
    page.wait_for_function("document.querySelector('#adapt-yaml textarea')?.value.includes('rank: 16')")
    text = yaml.input_value()
    yaml.fill(text.replace("rank: 16", "rankk: 16"))
    page.get_by_role("button", name="Put this YAML into the form").click()
    expect(problem(page, "The setting adapter.rankk was given. There is no such setting.")).to_be_visible()
    expect(yaml).to_have_value(text.replace("rank: 16", "rankk: 16"))
    yaml.fill(text.replace("rank: 16", "rank: 24"))
    page.get_by_role("button", name="Put this YAML into the form").click()
    expect(page.locator(".adapt-diff tbody tr")).to_have_text(["Rank1624Take back"])
    page.locator("#adapt-model input").fill("gema-2-2b")
    page.keyboard.press("Enter")
    expect(problem(page, "Nearest: ")).to_be_visible()
    seen.clean()


def test_a_double_click_starts_one_run_with_the_settings_shown(lab: LabProcess, visit: Callable[..., Visit]) -> None:
    saes = [{"release": "pocket-scope", "sae_id": f"layer_{layer}/width_512/average_l0_18"} for layer in (1, 4)]
    seen = visit(f"/adapt?preset=quick&saes={quote('|'.join(' / '.join(each.values()) for each in saes))}")
    page = seen.page
    ready(page)
    name = '<img src=x onerror="alert(1)">'
    page.locator("#adapt-name :is(input, textarea)").first.fill(name)
    page.locator("#adapt-start").dblclick()
    page.wait_for_url("**/run?run=2*")
    runs = [run for run in json.load(urlopen(f"{lab.address}/lab/runs"))["runs"] if run["name"] == name]
    assert len(runs) == 1
    config = json.load(urlopen(f"{lab.address}/lab/runs/{runs[0]['run_id']}"))["config"]
    assert config["train"]["tokens"] == 40_960 and config["saes"] == saes
    page.goto(f"{lab.address}/adapt?from={runs[0]['run_id']}")
    expect(page.get_by_text("are filled in.")).to_be_visible()
    assert box(page, "train-tokens") == "40960" and box(page, "name") == f"{name} again"
    page.evaluate(f"fetch('/lab/runs/{runs[0]['run_id']}/discard', {{method: 'POST'}})")


def test_a_phone_shows_everything_in_one_column(visit: Callable[..., Visit]) -> None:
    seen = visit("/adapt", phone=True)
    ready(seen.page)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
    expect(seen.page.locator("#adapt-start")).to_be_enabled()
    seen.clean()
