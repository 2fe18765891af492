"""From metric rows to what is drawn and exported: series per metric, thinned so that nothing the eye would notice is lost. No disk here."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from lorasae.metrics import METRICS

Rows = list[dict[str, Any]]
MAX_METRICS = 64  # of one run; a damaged file does not grow the memory without bound
_FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")


class Series(NamedTuple):
    """One metric over training, oldest first."""

    steps: np.ndarray
    values: np.ndarray


class Columns:
    """All series of a run. Grows by rows; null, absent and infinite values are skipped."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.last_step = 0
        self._parts: dict[str, list[Series]] = {}

    def add(self, rows: Rows) -> None:
        """Rows as they stand in metrics.jsonl; what has no step is no row."""
        rows = [row for row in rows if _is_number(row.get("step"))]
        if not rows:
            return
        steps = np.array([row["step"] for row in rows], dtype=np.float64)
        for key in sorted(set().union(*rows) - {"step"}):
            values = _numbers([row.get(key) for row in rows])
            there = np.isfinite(values)
            if there.any() and (key in self._parts or len(self._parts) < MAX_METRICS):
                self._parts.setdefault(key, []).append(Series(steps[there], values[there]))
        self.n_rows += len(rows)
        self.last_step = max(self.last_step, int(steps.max()))

    def metric(self, key: str) -> Series:
        """One metric, whole."""
        parts = self._parts.get(key, [])
        if len(parts) > 1:
            parts[:] = [Series(np.concatenate([part.steps for part in parts]), np.concatenate([part.values for part in parts]))]
        return parts[0] if parts else Series(np.empty(0), np.empty(0))

    def window(self, n_points: int, first: float = -math.inf, last: float = math.inf) -> dict[str, Series]:
        """Every metric between two steps, both included, in at most `n_points` points each."""
        shown = {}
        for key in list(self._parts):
            series = self.metric(key)
            inside = (series.steps >= first) & (series.steps <= last)
            shown[key] = thinned(Series(series.steps[inside], series.values[inside]), n_points)
        return {key: series for key, series in shown.items() if len(series.steps)}


def thinned(series: Series, n_points: int) -> Series:
    """At most `n_points` of the points (never fewer than 4): the first, the last, and the lowest and highest of each of equal buckets."""
    n_given, n_points = len(series.steps), max(4, n_points)
    if n_given <= n_points:
        return series
    inner = series.values[1:-1]
    size = math.ceil(len(inner) / ((n_points - 2) // 2))
    n_buckets = math.ceil(len(inner) / size)
    buckets = np.pad(inner, (0, n_buckets * size - len(inner)), mode="edge").reshape(n_buckets, size)
    starts = 1 + size * np.arange(n_buckets)
    kept = np.unique(np.concatenate([[0], starts + buckets.argmin(axis=1), starts + buckets.argmax(axis=1), [n_given - 1]]))
    return Series(series.steps[kept], series.values[kept])


def as_json(shown: Mapping[str, Series]) -> dict[str, list[list[float]]]:
    """Series as the browser reads them: {metric: [steps, values]}."""
    return {key: [_plain(series.steps), series.values.tolist()] for key, series in shown.items()}


def sparkline(series: Series, n_points: int = 40) -> list[float]:
    """The shape of a series: at most `n_points` of its values, evenly spaced in time."""
    if len(series.values) <= n_points:
        return series.values.tolist()
    return series.values[np.linspace(0, len(series.values) - 1, n_points).round().astype(int)].tolist()


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: list[str]) -> Iterator[str]:
    """A table of metric rows, its head first. Text that a spreadsheet would run as a formula is made text; numbers stay as they are."""
    yield _csv_line([_cell(column) for column in columns])
    for row in rows:
        yield _csv_line([_cell(row.get(column)) for column in columns])


def columns_of(keys: Iterable[str]) -> list[str]:
    """The order of an exported table: step, the metrics in the order of their table, then all else."""
    found = dict.fromkeys(keys)
    known = [key for key in METRICS if key in found]
    return ["step", *known, *(key for key in found if key not in METRICS and key != "step")]


def _csv_line(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> Any:
    if value is None or _is_number(value):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_MARKS) else text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def _numbers(values: list[Any]) -> np.ndarray:
    """Values as floats, NaN where there is no number."""
    if set(map(type, values)) <= {float, int, type(None)}:  # nearly always: no value is looked at singly
        with suppress(OverflowError):
            return np.array(values, dtype=np.float64)
    return np.array([value if _is_number(value) else None for value in values], dtype=np.float64)


def _plain(steps: np.ndarray) -> list[float]:
    """Steps as whole numbers where they are."""
    whole = steps.astype(np.int64)
    return whole.tolist() if np.array_equal(whole, steps) else steps.tolist()
