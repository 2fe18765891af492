"""The benchmark as a picture: a bar per way with its spread, or the curves of a race. SVG, an HTML page around it, or PNG."""

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from textwrap import wrap

from lorasae.bench.race import Run
from lorasae.bench.report import Row
from lorasae.errors import LabError
from lorasae.publishing.pictures import ADAPTED, INK, LINE, MUTED, ORIGINAL, Canvas

_ROW, _LEFT, _RIGHT, _TOP = 34, 330, 690, 84
_TITLE_LETTERS = 115  # of one line
_ANCHORS = {"l": "start", "m": "middle", "r": "end"}


class SvgSheet:
    """The strokes of `publishing.pictures.Canvas`, as SVG."""

    def __init__(self, width: int, height: int) -> None:
        self._size, self._strokes = (width, height), [f'<rect width="{width}" height="{height}" fill="#ffffff"/>']

    def text(self, x: float, y: float, words: str, colour: str = INK, size: int = 14, anchor: str = "ls") -> None:
        middle = ' dominant-baseline="central"' if anchor[1] == "m" else ""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{_ANCHORS[anchor[0]]}"{middle}'
        self._strokes.append(f'<text {place} fill="{colour}" font-size="{size}">{escape(words)}</text>')

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 2) -> None:
        for (x0, y0), (x1, y1) in pairwise(points):
            place = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
            self._strokes.append(f'<line {place} stroke="{colour}" stroke-width="{width}"/>')

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        self._strokes.append(f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" fill="{colour}"/>')

    def svg(self) -> str:
        width, height = self._size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif">'
        return "\n".join([head, *self._strokes, "</svg>\n"])


Sheet = SvgSheet | Canvas


def refuse_other_kinds(path: Path) -> None:
    """Raise LabError unless a picture can be written into a file of this name: before minutes are spent measuring."""
    if path.suffix not in _KINDS:
        raise LabError(f"A picture was to be written to {path.name}", "The kind of file is told by its ending", f"Use {', '.join(_KINDS)}")


def write_ratios(path: Path, title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> None:
    """A bar per way: its ratio to the authors' loop."""
    _write(path, title, _TOP + _ROW * len(table) + 40, lambda sheet: _draw_ratios(sheet, title, footer, table, on_gpu))


def write_race(path: Path, title: str, footer: str, runs: Sequence[Run]) -> None:
    """A curve per recipe and seed: the share of the gap that is closed, over CPU-seconds of training on a logarithmic scale."""
    _write(path, title, 420, lambda sheet: _draw_race(sheet, title, footer, runs))


def _write(path: Path, title: str, height: int, draw: Callable[[Sheet], None]) -> None:
    sheet = Canvas(760, height) if path.suffix == ".png" else SvgSheet(760, height)
    draw(sheet)
    if isinstance(sheet, Canvas):
        path.write_bytes(sheet.png())
        return
    page = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n{sheet.svg()}</html>\n'
    path.write_text(page if path.suffix == ".html" else sheet.svg(), encoding="utf-8")


_KINDS = (".svg", ".html", ".png")


def _head(sheet: Sheet, title: str, measure: str) -> None:
    for number, line in enumerate(wrap(title, _TITLE_LETTERS)[:2]):
        sheet.text(24, 24 + 16 * number, line, INK, 12)
    sheet.text(24, 62, measure, MUTED, 12)


def _draw_ratios(sheet: Sheet, title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> None:
    ratios = [row.ratio if on_gpu else row.cpu_ratio for row in table]
    most = max(1.0, *(ratio.high for ratio in ratios))

    def place(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * value / most

    measure = "tokens per second" if on_gpu else "tokens per CPU-second"
    _head(sheet, title, f"{measure}, times the authors' loop; line: least and most of a round")
    bottom = _TOP + _ROW * len(table)
    sheet.line([(place(1), _TOP), (place(1), bottom)], LINE, 1)
    for number, (row, ratio) in enumerate(zip(table, ratios, strict=True)):
        middle = _TOP + _ROW * (number + 0.5)
        sheet.text(_LEFT - 10, middle, row.label, INK, 13, "rm")
        sheet.box(_LEFT, middle - 9, place(ratio.middle), middle + 9, ORIGINAL if row.key.startswith("authors") else ADAPTED)
        sheet.line([(place(ratio.low), middle), (place(ratio.high), middle)], INK, 1.5)
        sheet.text(place(ratio.high) + 8, middle, f"{ratio.middle:.2f}", INK, 13, "lm")
    sheet.text(24, bottom + 24, footer, MUTED, 11)


def _draw_race(sheet: Sheet, title: str, footer: str, runs: Sequence[Run]) -> None:
    left, right, top, bottom = 70, 720, 84, 350
    points = [point for run in runs for point in run.points[1:]]
    first, last = (math.log10(pick(point.cpu_s for point in points)) for pick in (min, max))
    best = max(0.01, max(point.gap_closed for point in points))

    def place(cpu_s: float, gap_closed: float) -> tuple[float, float]:
        across = (math.log10(cpu_s) - first) / ((last - first) or 1)
        return left + (right - left) * across, bottom - (bottom - top) * max(0.0, gap_closed) / best

    _head(sheet, title, "share of the gap closed on held-out text, over CPU-seconds of training (logarithmic)")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - (bottom - top) * share
        sheet.line([(left, y), (right, y)], LINE, 1)
        sheet.text(left - 8, y, f"{share * best:.0%}", MUTED, 12, "rm")
    for power in range(math.ceil(first), math.floor(last) + 1):
        sheet.text(place(10.0**power, 0)[0], bottom + 18, f"{10.0**power:g} s", MUTED, 12, "ms")
    for run in runs:
        sheet.line([place(point.cpu_s, point.gap_closed) for point in run.points[1:]], _COLOURS[run.recipe], 2)
    for number, recipe in enumerate(_COLOURS):
        sheet.line([(left + 200 * number, bottom + 38), (left + 200 * number + 18, bottom + 38)], _COLOURS[recipe], 2)
        sheet.text(left + 200 * number + 24, bottom + 38, recipe, INK, 12, "lm")
    sheet.text(24, bottom + 62, footer, MUTED, 11)


_COLOURS = {"ours": ADAPTED, "authors": ORIGINAL}
