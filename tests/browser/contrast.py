"""How well what is typed into a page's fields can be read, as the browser itself draws them."""

from playwright.sync_api import Page

_FIELDS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [red, green, blue] = parts(colour).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return parts(colour).length === 4 && parts(colour)[3] < 1 ? ground(element.parentElement) : colour;
  };
  const fields = [...document.querySelectorAll("input:is([type=text],[type=search],[type=number],:not([type])), textarea, select")];
  return fields.filter((field) => field.checkVisibility()).map((field) => {
    const [low, high] = [light(getComputedStyle(field).color), light(ground(field))].sort((one, other) => one - other);
    return [field.getAttribute("aria-label") || field.labels?.[0]?.textContent || field.placeholder, (high + 0.05) / (low + 0.05)];
  });
}"""


def contrast_of_fields(page: Page) -> dict[str, float]:
    """Of every visible field, by its label: contrast of the text with its ground, from 1 to 21."""
    return {label: round(ratio, 2) for label, ratio in page.evaluate(_FIELDS)}
