"""The two pictures of a model card, as PNG: the four conditions as a gap, and the curves of training. Drawn without a browser."""

import io
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from lorasae.publishing.publication import CONDITIONS, Publication

_SCALE = 2  # pixels per unit, for sharp screens
INK, MUTED, LINE, _PAPER = "#14201d", "#52615d", "#d5deda", "#ffffff"
ORIGINAL, _SAE, ADAPTED, _WON = "#43546a", "#a64b0a", "#0f766e", "#cfe3df"  # those of assets/web/lab.css
_COLOURS: dict[str, str] = dict(zip(CONDITIONS, (ORIGINAL, _SAE, ADAPTED, ADAPTED), strict=True))
_WORDS: dict[str, str] = dict(zip(CONDITIONS, ("original", "original + SAE", "adapted + SAE", "adapted, SAE off"), strict=True))


class Canvas:
    """A white sheet; places in units of a 96-dpi page."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, words: str, colour: str = INK, size: int = 14, anchor: str = "ls") -> None:
        self._draw.text((x * _SCALE, y * _SCALE), words, fill=colour, font=ImageFont.load_default(size * _SCALE), anchor=anchor)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 2, dash: float = 0) -> None:
        for (x0, y0), (x1, y1) in pairwise(points):
            pieces = [(0.0, 1.0)] if not dash else _dashes(abs(x1 - x0) + abs(y1 - y0), dash)
            for start, end in pieces:
                ends = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in (start, end)]
                self._draw.line([(x * _SCALE, y * _SCALE) for x, y in ends], fill=colour, width=round(width * _SCALE))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        self._draw.rectangle([v * _SCALE for v in (x0, min(y0, y1), x1, max(y0, y1))], fill=colour)

    def png(self) -> bytes:
        content = io.BytesIO()
        self.image.save(content, "PNG", optimize=True)
        return content.getvalue()


def _dashes(length: float, dash: float) -> list[tuple[float, float]]:
    n = max(1, round(length / (2 * dash)))
    return [(i / n, (i + 0.55) / n) for i in range(n)]


def gap_picture(what: Publication) -> bytes:
    """The CE losses of the four conditions on one scale; the floor is the original model, the dashed line the model with its SAE."""
    values = {key: what.value(key) for key in CONDITIONS}
    known = [value for value in values.values() if value is not None]
    low, high = min(known), max(known)
    sheet = Canvas(720, 300)
    sheet.text(24, 32, "Cross-entropy on held-out text, nats per token: lower is better", MUTED)

    def place(value: float) -> float:
        return 262 - (value - low) / ((high - low) or 1) * 200

    if values["ce_original"] is not None and values["ce_adapted_sae"] is not None and values["ce_original_sae"] is not None:
        sheet.box(40, place(values["ce_original_sae"]), 240, place(values["ce_adapted_sae"]), _WON)
    taken: list[float] = []
    for key, value in values.items():
        if value is None:
            continue
        y = place(value)
        sheet.line([(40, y), (430, y)], _COLOURS[key], 2.5, dash=6 if key in ("ce_original_sae", "ce_adapted") else 0)
        label = _free(y, taken)
        taken.append(label)
        sheet.line([(430, y), (446, label)], LINE, 1)
        sheet.text(452, label, what.shown(key), _COLOURS[key], 14, "lm")
        sheet.text(580, label, _WORDS[key], MUTED, 14, "lm")
    sheet.text(140, 290, f"gap closed: {what.shown('gap_closed')}", ADAPTED, 16, "ms")
    return sheet.png()


def _free(wanted: float, taken: Sequence[float], height: float = 20) -> float:
    """The place nearest to the wanted one that is clear of the taken ones."""
    steps = (wanted + sign * off for off in range(240) for sign in (-1, 1))
    return next(y for y in steps if 48 <= y <= 276 and all(abs(y - other) >= height for other in taken))


def curves_picture(what: Publication) -> bytes:
    """KL and CE gap over training, side by side; held-out values are those of the short evaluations."""
    sheet = Canvas(720, 300)
    panels = (
        ("KL to the original, nats/token", (("kl_train", ORIGINAL, "training"), ("kl_adapted_sae", ADAPTED, "held-out"))),
        ("CE gap, nats/token", (("ce_gap_after", ADAPTED, "held-out"), ("ce_gap_before", _SAE, "before"))),
    )
    for (title, series), left in zip(panels, (24, 384), strict=True):
        found = [(_points(what, key), colour, label) for key, colour, label in series]
        _panel(sheet, left, title, [each for each in found if each[0]])
    return sheet.png()


def _points(what: Publication, key: str) -> list[tuple[float, float]]:
    rows = (row for row in what.rows if key == "kl_train" or "ce_gap_after" in row)  # at step 0 the whole text is measured, later a part
    return [(row["step"], row[key]) for row in rows if row.get(key) is not None]


def _panel(sheet: Canvas, left: float, title: str, series: list[tuple[list[tuple[float, float]], str, str]]) -> None:
    sheet.text(left, 32, title, INK)
    x0, x1, y0, y1 = left + 44, left + 308, 246, 64
    last = max((x for points, _, _ in series for x, _ in points), default=1) or 1
    top = max((y for points, _, _ in series for _, y in points), default=1) or 1
    for share in (0.0, 0.5, 1.0):
        y = y0 + (y1 - y0) * share
        sheet.line([(x0, y), (x1, y)], LINE, 1)
        sheet.text(x0 - 6, y, f"{top * share:.3g}", MUTED, 12, "rm")
    sheet.text(x0, y0 + 18, "0", MUTED, 12, "ms")
    sheet.text(x1, y0 + 18, f"step {last:,.0f}", MUTED, 12, "rs")
    for number, (points, colour, label) in enumerate(series):
        scaled = [(x0 + (x1 - x0) * x / last, y0 + (y1 - y0) * y / top) for x, y in points]
        sheet.line(scaled if len(scaled) > 1 else [(x0, scaled[0][1]), (x1, scaled[0][1])], colour, 2)
        sheet.line([(x0 + 130 * number, 280), (x0 + 130 * number + 18, 280)], colour, 2)
        sheet.text(x0 + 130 * number + 24, 284, label, colour, 12)
