"""metrics.jsonl read while it grows: each byte once, whole rows only, and a place in it that can be recognised after a reconnection."""

import json
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from lorasae.store.charts import Columns, Rows

CHUNK_BYTES = 1_000_000  # parsed at a time: the event loop of the app gets its turn between two chunks
_CHECKED_BYTES = 256  # what stands before a place identifies it, beside the inode, which the disk may use again
_PARSED_FILES = 16  # held in memory


@dataclass(frozen=True)
class Place:
    """Between two rows of one version of the file. A file that was written anew does not have the places of the old one."""

    inode: int = 0
    offset: int = 0
    check: int = 0

    def __str__(self) -> str:
        return f"{self.inode}-{self.offset}-{self.check}"


def place_from(text: str) -> Place | None:
    """The place that `str(place)` wrote; None for anything else."""
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):
        return None
    return Place(*(int(part) for part in parts))


@dataclass(frozen=True)
class Growth:
    """What was written after a place, and the place where it ends."""

    rows: Rows
    place: Place


class MetricsFile:
    """The metrics of one run. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._columns, self._place = Columns(), Place()

    def read(self, use: Callable[[Columns, Place], Any]) -> Any:
        """`use(columns, place)` of all that is written by now, with nothing growing meanwhile."""
        with self._lock:
            self._refresh()
            return use(self._columns, self._place)

    def rows_since(self, place: Place, until: Place | None = None, max_bytes: int = CHUNK_BYTES) -> Growth | None:
        """The rows after `place`: None if the file was written anew since, or grew by more than `max_bytes`."""
        try:
            with self.path.open("rb") as file:
                if not _has(file, place) or (until is not None and not _has(file, until)):
                    return None
                inode, size = _identity(file)
                end = until.offset if until is not None else size
                if end - place.offset > max_bytes:
                    return None
                file.seek(place.offset)
                whole = _whole_lines(file.read(max(0, end - place.offset)))
                offset = place.offset + len(whole)
                return Growth(parsed(whole), Place(inode, offset, _check(file, offset)))
        except FileNotFoundError:
            return Growth([], place) if place == Place() else None

    def _refresh(self) -> None:
        try:
            with self.path.open("rb") as file:
                if not _has(file, self._place):
                    self._columns, self._place = Columns(), Place()
                file.seek(self._place.offset)
                offset = self._place.offset
                for lines in _chunks(file):
                    self._columns.add(parsed(lines))
                    offset += len(lines)
                self._place = Place(_identity(file)[0], offset, _check(file, offset))
        except FileNotFoundError:
            self._columns, self._place = Columns(), Place()


class MetricsFiles:
    """The metrics of the runs looked at last, parsed."""

    def __init__(self, most: int = _PARSED_FILES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._files: OrderedDict[Path, MetricsFile] = OrderedDict()

    def of(self, path: Path) -> MetricsFile:
        """The metrics at `path`."""
        with self._lock:
            file = self._files.pop(path, None) or MetricsFile(path)
            self._files[path] = file
            while len(self._files) > self._most:
                self._files.popitem(last=False)
            return file


def rows_in(path: Path) -> Iterator[Rows]:
    """All rows, a chunk at a time; nothing if the file does not exist."""
    try:
        with path.open("rb") as file:
            for lines in _chunks(file):
                yield parsed(lines)
    except FileNotFoundError:
        return


def parsed(lines: bytes) -> Rows:
    """The rows in whole lines. A damaged one is left out."""
    try:
        rows = orjson.loads(b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]")
    except orjson.JSONDecodeError:
        rows = []
    if len(rows) != lines.count(b"\n"):
        rows = [row for line in lines.split(b"\n") for row in _lenient(line)]
    return [row for row in rows if isinstance(row, dict)]


def _lenient(line: bytes) -> Rows:
    """The row of one line, NaN and numbers beyond 64 bits allowed; none if it is damaged."""
    try:
        return [json.loads(line, parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits))]
    except (ValueError, RecursionError):
        return []


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines from where the file stands. A chunk without any line end is damage, and passed over."""
    rest = b""
    while piece := file.read(CHUNK_BYTES):
        whole = _whole_lines(rest + piece)
        if not whole and len(rest) + len(piece) >= CHUNK_BYTES:
            whole = rest + piece
        rest = (rest + piece)[len(whole) :]
        if whole:
            yield whole


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _identity(file: BinaryIO) -> tuple[int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_ino, stat.st_size


def _has(file: BinaryIO, place: Place) -> bool:
    """Whether the file is still the one in which `place` was."""
    if place == Place():
        return True
    inode, size = _identity(file)
    return inode == place.inode and size >= place.offset and _check(file, place.offset) == place.check


def _check(file: BinaryIO, offset: int) -> int:
    start = max(0, offset - _CHECKED_BYTES)
    file.seek(start)
    return zlib.crc32(file.read(offset - start))
