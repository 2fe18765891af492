"""The ratios as a picture: a bar per way, its spread over the rounds as a line. SVG, an HTML page around it, or PNG."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from lorasae.bench.report import Row
from lorasae.errors import LabError
from lorasae.publishing.pictures import ADAPTED, INK, LINE, MUTED, ORIGINAL, Canvas

_ROW, _LEFT, _RIGHT, _TOP = 34, 330, 690, 64
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


def refuse_other_kinds(path: Path) -> None:
    """Raise LabError unless the picture can be written into a file of this name: before minutes are spent measuring."""
    if path.suffix not in _WRITERS:
        raise LabError(
            f"A picture was to be written to {path.name}", "The kind of file is told by its ending", f"Use {', '.join(_WRITERS)}"
        )


def write_picture(path: Path, title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> None:
    """The picture in the kind that the file's ending names."""
    path.write_bytes(_WRITERS[path.suffix](title, footer, table, on_gpu))


def _draw(sheet: SvgSheet | Canvas, title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> None:
    ratios = [row.ratio if on_gpu else row.cpu_ratio for row in table]
    most = max(1.0, *(ratio.high for ratio in ratios))

    def place(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * value / most

    sheet.text(24, 28, title, INK, 16)
    sheet.text(
        24,
        48,
        f"{'tokens per second' if on_gpu else 'tokens per CPU-second'}, times the authors' loop; line: least and most of a round",
        MUTED,
        12,
    )
    bottom = _TOP + _ROW * len(table)
    sheet.line([(place(1), _TOP), (place(1), bottom)], LINE, 1)
    for number, (row, ratio) in enumerate(zip(table, ratios, strict=True)):
        middle = _TOP + _ROW * (number + 0.5)
        sheet.text(_LEFT - 10, middle, row.label, INK, 13, "rm")
        sheet.box(_LEFT, middle - 9, place(ratio.middle), middle + 9, ORIGINAL if row.key.startswith("authors") else ADAPTED)
        sheet.line([(place(ratio.low), middle), (place(ratio.high), middle)], INK, 1.5)
        sheet.text(place(ratio.high) + 8, middle, f"{ratio.middle:.2f}", INK, 13, "lm")
    sheet.text(24, bottom + 24, footer, MUTED, 11)


def _height(table: Sequence[Row]) -> int:
    return _TOP + _ROW * len(table) + 40


def _svg(title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> bytes:
    sheet = SvgSheet(760, _height(table))
    _draw(sheet, title, footer, table, on_gpu)
    return sheet.svg().encode()


def _html(title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> bytes:
    head = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
    return head.encode() + _svg(title, footer, table, on_gpu) + b"</html>\n"


def _png(title: str, footer: str, table: Sequence[Row], on_gpu: bool) -> bytes:
    sheet = Canvas(760, _height(table))
    _draw(sheet, title, footer, table, on_gpu)
    return sheet.png()


_WRITERS = {".svg": _svg, ".html": _html, ".png": _png}
