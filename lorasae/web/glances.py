"""What the metrics of a run show at a glance: its curve as a sparkline, its latest headline numbers. Kept while the file is unchanged."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from lorasae.store.charts import Columns, sparkline
from lorasae.store.metrics_file import MetricsFiles, Place

_CURVE = "kl_train"
_HEADLINE = ("gap_closed", "gap_closed_error", "ce_gap_before", "ce_gap_after")
_KEPT = 4096  # runs


@dataclass(frozen=True)
class Glance:
    """A run's curve and its latest numbers, by metric."""

    spark: list[float]
    latest: dict[str, float]


class Glances:
    """The glances of many runs; only those are computed whose metrics grew."""

    def __init__(self, files: MetricsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, tuple[tuple[int, int, int], Glance]] = OrderedDict()

    def of(self, path: Path) -> Glance:
        """The glance at the metrics in a file."""
        version = _version(path)
        with self._lock:
            known = self._kept.get(path)
        if known is None or known[0] != version:
            known = (version, self._files.of(path).read(_glance))
            with self._lock:
                self._kept[path] = known
                self._kept.move_to_end(path)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return known[1]


def _glance(columns: Columns, place: Place) -> Glance:
    latest = {key: columns.metric(key).values for key in _HEADLINE}
    return Glance(sparkline(columns.metric(_CURVE)), {key: float(values[-1]) for key, values in latest.items() if len(values)})


def _version(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
