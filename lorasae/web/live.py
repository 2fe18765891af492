"""The live stream of a run: `/lab/runs/{id}/live`. One tail per run, however many watch; none while nobody does."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query

from lorasae.errors import Busy
from lorasae.lab import Lab
from lorasae.store.metrics_file import MetricsFiles, Place, place_from
from lorasae.store.run_folder import Run
from lorasae.web.access import Looked, Owner
from lorasae.web.events import HEARTBEAT, EventStream
from lorasae.web.summaries import status_of
from lorasae.web.tail import Tail, Viewer

HEARTBEAT_S = 15.0
POINTS = (100, 250, 500, 1000, 1500, 3000, 6000)  # few choices, so that viewers share what is computed
MAX_WATCHING = 1000
_LOG = logging.getLogger("lorasae.web")
_THREADS = 4  # for tails alone: a slow inspection elsewhere does not hold them up


@dataclass
class _Followed:
    """A tail, the task that reads for it, and how many watch."""

    tail: Tail
    task: "asyncio.Task[None]"
    n_watching: int = 0


class Live:
    """All tails of the app."""

    def __init__(self, lab: Lab, files: MetricsFiles) -> None:
        self._lab, self._files = lab, files
        self._followed: dict[str, _Followed] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="live")
        self._closed = False

    @property
    def n_watching(self) -> int:
        """Open streams."""
        return sum(followed.n_watching for followed in self._followed.values())

    async def events(self, run: Run, owner: str, n_points: int, place: Place | None) -> AsyncGenerator[bytes]:
        """What one viewer is sent, until the viewer leaves, is cut off, or the app ends."""
        viewer, followed = Viewer(owner, n_points), self._follow(run)
        try:
            yield b"retry: 1000\n\n"
            await followed.tail.join(viewer, place)
            while not self._closed:
                content = HEARTBEAT
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        content = await viewer.queue.get()
                if content is None:
                    return
                yield content
        finally:
            followed.tail.viewers.discard(viewer)
            self._watched_by_one_less(run.run_id, followed)

    def close(self) -> None:
        """End every stream: a server that stops does not wait for them."""
        self._closed = True
        for followed in self._followed.values():
            followed.task.cancel()
            followed.tail.dismiss()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _follow(self, run: Run) -> _Followed:
        followed = self._followed.get(run.run_id)
        if followed is None or followed.task.done():
            tail = Tail(run, self._files.of(run.metrics_file), partial(status_of, self._lab), self._in_thread)
            followed = _Followed(tail, asyncio.create_task(tail.follow(), name=f"tail of {run.run_id}"))
            followed.task.add_done_callback(partial(_ended, tail))
            self._followed[run.run_id] = followed
        followed.n_watching += 1
        return followed

    def _watched_by_one_less(self, run_id: str, followed: _Followed) -> None:
        followed.n_watching -= 1
        if followed.n_watching == 0:
            followed.task.cancel()
            if self._followed.get(run_id) is followed:
                del self._followed[run_id]

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def add_live_route(app: FastAPI, lab: Lab, files: MetricsFiles) -> Live:
    """`/lab/runs/{id}/live`. What is returned is to be closed when the server stops."""
    live = Live(lab, files)

    @app.get("/lab/runs/{run_id}/live")
    async def stream(
        run: Looked,
        visitor: Owner,
        points: Annotated[int, Query(ge=POINTS[0], le=100_000)] = 1500,
        after: Annotated[str, Query(max_length=80)] = "",
        last_event_id: Annotated[str, Header(max_length=80)] = "",
    ) -> EventStream:
        if live.n_watching >= MAX_WATCHING:
            raise Busy("A run was to be watched", f"{MAX_WATCHING} viewers are watching already", "Try again in a minute")
        n_points = max(n for n in POINTS if n <= points)
        return EventStream(live.events(run, visitor, n_points, place_from(last_event_id or after)))

    return live


def _ended(tail: Tail, task: "asyncio.Task[None]") -> None:
    """A tail that failed lets its viewers go: they come back, and a new one is tried."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("The live stream of a run failed", exc_info=error)
        tail.dismiss()
