"""The look: contrast in both themes, Gradio in the same colours, scripts that treat text as text and fetch nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from lorasae.metrics import LEARNED

WEB = Path(__file__).parents[1] / "assets" / "web"
LAB_CSS = (WEB / "lab.css").read_text()
TEXT = ["ink", "muted", "accent", "accent-strong", "original", "sae", "adapted", "up", "down", "busy", "good", "bad", "harm"]
GROUNDS = ("page", "surface", "raised")
ON_COLOUR = [
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("busy", "sae-soft"),
    ("sae", "sae-soft"),
    ("good", "accent-soft"),
    ("accent-strong", "accent-soft"),
    ("bad", "bad-soft"),
    ("ink", "accent-soft"),
]


def palette(theme: str) -> dict[str, str]:
    """The colours of a theme; dark changes some of light's."""
    block = re.compile(r"^(:root|\.dark) \{(.*?)^\}", re.M | re.S)
    themes = {
        "light" if name == ":root" else "dark": dict(re.findall(r"--lab-([\w-]+): (#[0-9a-f]{6})", body))
        for name, body in block.findall(LAB_CSS)
    }
    return themes["light"] if theme == "light" else themes["light"] | themes["dark"]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(theme: str) -> None:
    colours = palette(theme)
    pairs = [(text, ground) for text in TEXT for ground in GROUNDS] + ON_COLOUR
    faint = {f"{text} on {ground}": round(contrast(colours[text], colours[ground]), 2) for text, ground in pairs}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edges_of_what_can_be_pressed_can_be_seen(theme: str) -> None:
    colours = palette(theme)
    assert all(contrast(colours["edge"], colours[ground]) >= 3 for ground in GROUNDS)


def test_gradio_draws_with_colours_that_exist_and_in_both_themes() -> None:
    from pages.look import theme

    css = theme()._get_theme_css()
    assert set(re.findall(r"var\(--lab-([\w-]+)\)", css)) <= set(palette("light"))
    light, dark = css.split(":root.dark", 1)
    named = {side: set(re.findall(r"(--[\w-]+): var\(--lab-", text)) for side, text in (("light", light), ("dark", dark))}
    always_light = named["light"] - named["dark"]
    assert not any("background" in name or "text-color" in name for name in always_light), always_light


def test_the_first_paint_has_the_colours_of_the_style_sheet() -> None:
    from pages.look import theme

    painted = theme()
    assert (painted.body_background_fill, painted.body_background_fill_dark) == (palette("light")["page"], palette("dark")["page"])
    assert (painted.body_text_color, painted.body_text_color_dark) == (palette("light")["ink"], palette("dark")["ink"])


@pytest.mark.parametrize("path", sorted(WEB.glob("*.js")), ids=lambda path: path.name)
def test_scripts_build_elements_from_text_never_from_markup(path: Path) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\b", path.read_text())


@pytest.mark.parametrize("path", sorted([*WEB.glob("*.js"), *WEB.glob("*.css"), *WEB.glob("*.svg")]), ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    fetched = re.findall(r"""(?:import|from|fetch\(|url\(|src=|@import)\s*["'(]*\s*(https?:)?//[^"')\s]+""", path.read_text())
    assert fetched == []


@pytest.mark.parametrize("path", sorted(WEB.glob("*.css")), ids=lambda path: path.name)
def test_views_take_their_colours_from_the_variables(path: Path) -> None:
    text = re.sub(r"--lab-[\w-]+: #[0-9a-f]{6}", "", path.read_text())  # where colours get their names
    lines = [line for line in text.splitlines() if "neuronpedia" not in line]  # the ground of a foreign page, which is white
    assert [line for line in lines if re.search(r"#[0-9a-fA-F]{3,8}\b(?=[^{}]*[;}])", line)] == []


def test_every_word_that_is_asked_about_is_explained() -> None:
    known = set(re.findall(r'^  (\w+): \["', (WEB / "glossary_words.js").read_text(), re.M))
    asked = {word for path in WEB.glob("*.js") for word in re.findall(r'\bterm\("(\w+)"', path.read_text())}
    assert asked and asked <= known


def test_above_100_per_cent_pages_say_what_terminal_and_card_say() -> None:
    assert f'"{LEARNED}"' in (WEB / "words.js").read_text()
