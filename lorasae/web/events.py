"""Server-sent events: their form, and an answer that goes on until the reader leaves, stops reading, or the stream ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lorasae.web.answers import encoded

HEARTBEAT = b": still here\n\n"
_UNREAD_S = 20.0  # a reader that takes nothing for so long is let go


def event(name: str, content: Any, place: str = "") -> bytes:
    """One event. `place` is where a reader that comes back wants to go on from."""
    line = f"id: {place}\n" if place else ""
    return f"{line}event: {name}\ndata: ".encode() + encoded(content) + b"\n\n"


class EventStream(Response):
    """Events as they come. Proxies are told not to hold them back."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        self.events = events
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        tasks = {asyncio.create_task(self._sent(send)), asyncio.create_task(_left(receive))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # a failure of ours is for the log

    async def _sent(self, send: Send) -> None:
        with suppress(TimeoutError, OSError):
            async with aclosing(self.events) as events:
                async for content in events:
                    async with asyncio.timeout(_UNREAD_S):
                        await send({"type": "http.response.body", "body": content, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    """Returns when the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        continue
