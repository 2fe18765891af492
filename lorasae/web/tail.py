"""One run followed for all who watch it: its metrics and its status are read once, and each viewer gets every event or is let go.

A viewer holds a bounded queue. One whose queue is full has stopped reading: it is cut off, and comes back by the place it has seen last.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from lorasae.errors import LabError
from lorasae.store.charts import Columns, as_json
from lorasae.store.metrics_file import Growth, MetricsFile, Place
from lorasae.store.run_folder import Run
from lorasae.web.access import lookers
from lorasae.web.events import event

POLL_S = 0.1
_STATUS_EVERY = 4  # polls
_QUEUED_EVENTS = 64

Status = dict[str, Any]
InThread = Callable[..., Awaitable[Any]]  # runs a function where it may wait for the disk


@dataclass(eq=False)
class Viewer:
    """Who watches, and what is still to be sent there; None ends it."""

    owner: str
    n_points: int
    queue: "asyncio.Queue[bytes | None]" = field(default_factory=lambda: asyncio.Queue(_QUEUED_EVENTS))
    is_cut: bool = False

    def put(self, content: bytes) -> None:
        if self.is_cut:
            return
        if self.queue.full():
            self.cut()
        else:
            self.queue.put_nowait(content)

    def cut(self) -> None:
        """Nothing more is sent."""
        self.is_cut = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Tail:
    """The followed run."""

    def __init__(self, run: Run, file: MetricsFile, status: Callable[[Run], Status], in_thread: InThread) -> None:
        self.viewers: set[Viewer] = set()
        self._run, self._file, self._status, self._in_thread = run, file, status, in_thread
        self._place = Place()
        self._seen: tuple[int, int, int] | None = None  # inode, size and time of the file as it was read last
        self._last_status: Status = {}
        self._histories: dict[int, tuple[Place, bytes]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def follow(self) -> None:
        """Read and distribute until cancelled."""
        n = 0
        while True:
            await asyncio.sleep(POLL_S)
            n += 1
            async with self._one_at_a_time:
                await self._metrics()
                if n % _STATUS_EVERY == 0:
                    await self._state()

    async def join(self, viewer: Viewer, place: Place | None) -> None:
        """Send what is there, from `place` on where that can be found, and from now on everything."""
        async with self._one_at_a_time:
            await self._metrics()
            growth = await self._in_thread(self._file.rows_since, place, self._place) if place is not None else None
            if growth is None:
                viewer.put(await self._history(viewer.n_points))
            elif growth.rows:
                viewer.put(_rows(growth))
            self._last_status = await self._in_thread(self._status, self._run)
            viewer.put(event("status", self._last_status))
            self.viewers.add(viewer)

    def dismiss(self) -> None:
        """Let every viewer go."""
        for viewer in list(self.viewers):
            viewer.cut()

    def _tell(self, content: bytes) -> None:
        for viewer in list(self.viewers):
            viewer.put(content)

    async def _metrics(self) -> None:
        """Distribute what was written since the last time."""
        growth, rewritten = await self._in_thread(self._growth)
        if rewritten:
            self._histories = {}
            for viewer in list(self.viewers):
                viewer.put(await self._history(viewer.n_points))
            if not self.viewers:
                self._place = await self._in_thread(self._file.read, lambda columns, place: place)
        elif growth is not None and growth.rows:
            self._place = growth.place
            self._tell(_rows(growth))

    def _growth(self) -> tuple[Growth | None, bool]:
        """New rows, and whether the file was written anew."""
        try:
            stat = self._file.path.stat()
            seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except FileNotFoundError:
            seen = (0, 0, 0)
        if seen == self._seen:
            return None, False
        growth = self._file.rows_since(self._place)
        self._seen = seen
        return growth, growth is None

    async def _history(self, n_points: int) -> bytes:
        """All of it, thinned. Others are brought to the same place, so that nothing is sent twice or missed."""
        kept = self._histories.get(n_points)
        if kept is not None and kept[0] == self._place:
            return kept[1]
        place, content = await self._in_thread(self._file.read, lambda columns, place: (place, _history_event(columns, place, n_points)))
        growth = await self._in_thread(self._file.rows_since, self._place, place)
        if growth is not None and growth.rows:
            self._tell(_rows(growth))
        self._place = place
        self._histories = {n: entry for n, entry in self._histories.items() if entry[0] == place} | {n_points: (place, content)}
        return content

    async def _state(self) -> None:
        """Tell of a changed status, and let go whoever may no longer look."""
        try:
            status, allowed = await self._in_thread(self._look)
        except LabError:  # the run was deleted
            status, allowed = self._last_status, set()
        for viewer in [viewer for viewer in self.viewers if viewer.owner not in allowed]:
            viewer.cut()
        if status != self._last_status:
            self._last_status = status
            self._tell(event("status", status))

    def _look(self) -> tuple[Status, set[str]]:
        return self._status(self._run), lookers(self._run, {viewer.owner for viewer in list(self.viewers)})


def _rows(growth: Growth) -> bytes:
    return event("rows", {"rows": growth.rows}, str(growth.place))


def _history_event(columns: Columns, place: Place, n_points: int) -> bytes:
    content = {"series": as_json(columns.window(n_points)), "n_rows": columns.n_rows, "last_step": columns.last_step}
    return event("history", content, str(place))
