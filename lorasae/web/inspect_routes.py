"""A run inspected: its SAEs, a text compared, a feature, the pass over held-out text, steering. All answered by the inspection process.

Nothing here waits in a thread: answers come from the process's listener into the event loop. A reader who leaves gives the request up.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from starlette.responses import Response

from lorasae.errors import LabError
from lorasae.inspection.inspector import Inspector, Unavailable, answered
from lorasae.lab import Lab
from lorasae.store.run_folder import Run
from lorasae.web.access import Looked, lab_of
from lorasae.web.answers import Answer
from lorasae.web.events import HEARTBEAT, EventStream, event
from lorasae.web.problems import problem

HEARTBEAT_S = 15.0
_MAX_TEXT = 21_000  # characters; a little above what the inspection tells in a sentence

Text = Annotated[str, Query(max_length=_MAX_TEXT)]
Name = Annotated[str, Query(max_length=1000)]
Message = dict[str, Any]
AsEvent = Callable[[Message], bytes]


def looked_into(request: Request, run: Looked) -> Run:
    """The run of the address, whose model and SAEs are on this machine or not on their way."""
    lab_of(request).parts.refuse_unready(run)
    return run


LookedInto = Annotated[Run, Depends(looked_into)]


def add_inspect_routes(app: FastAPI, lab: Lab) -> None:
    """`/lab/runs/{id}/saes`, `compare`, `feature`, `activity` and `steer`."""
    inspector = lab.inspector
    folders = lab.settings.access == "local"  # only who sits at the machine may name its folders

    @app.get("/lab/runs/{run_id}/saes")
    async def saes(run: LookedInto) -> Response:
        return await _answer(inspector, "saes", run=str(run.folder))

    @app.get("/lab/runs/{run_id}/compare")
    async def compare(run: LookedInto, text: Text = "", release: Name = "", sae_id: Name = "") -> Response:
        return await _answer(inspector, "compare", run=str(run.folder), text=text, release=release, sae_id=sae_id, folders=folders)

    @app.get("/lab/runs/{run_id}/feature")
    async def feature(run: LookedInto, feature: int, text: Text = "", release: Name = "", sae_id: Name = "") -> Response:
        asked = {"feature": feature, "text": text, "release": release, "sae_id": sae_id, "folders": folders}
        return await _answer(inspector, "feature", run=str(run.folder), **asked)

    @app.get("/lab/runs/{run_id}/activity")
    async def activity(run: LookedInto, release: Name = "", sae_id: Name = "") -> EventStream:
        """Events `progress` {done, total} and at last `ready`."""
        asked = {"run": str(run.folder), "release": release, "sae_id": sae_id, "folders": folders}
        return EventStream(_events(inspector, "activity", asked, _progress, "ready"))

    @app.get("/lab/runs/{run_id}/steer")
    async def steer(
        run: LookedInto,
        feature: int,
        prompt: Text = "",
        release: Name = "",
        sae_id: Name = "",
        strength: float = 1.0,
        n_tokens: int = 48,
        temperature: float = 0.7,
        seed: int = 0,
        with_sae: bool = False,
    ) -> EventStream:
        """Events `start`, `token` {lane, text} and at last `done`."""
        asked = {
            "run": str(run.folder), "prompt": prompt, "feature": feature, "release": release, "sae_id": sae_id, "folders": folders,
            "strength": strength, "n_tokens": n_tokens, "temperature": temperature, "seed": seed, "with_sae": with_sae,
        }  # fmt: skip
        return EventStream(_events(inspector, "steer", asked, _written, "done"))


async def _answer(inspector: Inspector, method: str, **asked: Any) -> Response:
    try:
        async with aclosing(_messages(inspector, method, asked)) as messages:
            async for message in messages:
                if message is not None and "result" in message:
                    return Answer(message["result"])
    except Unavailable as error:
        return problem(str(error), 503)
    raise AssertionError("every request ends with a result or a problem")


async def _events(inspector: Inspector, method: str, asked: Message, as_event: AsEvent, last: str) -> AsyncGenerator[bytes]:
    """The answer as server-sent events; a problem is an event, too, because the answer has begun already."""
    try:
        async with aclosing(_messages(inspector, method, asked)) as messages:
            async for message in messages:
                if message is None:
                    yield HEARTBEAT
                elif "piece" in message:
                    yield as_event(message["piece"])
                else:
                    yield event(last, message["result"])
    except LabError as error:
        yield event("problem", {"problem": str(error)})


def _progress(piece: Message) -> bytes:
    return event("progress", piece)


def _written(piece: Message) -> bytes:
    return event(piece["event"], {name: value for name, value in piece.items() if name != "event"})


async def _messages(inspector: Inspector, method: str, asked: Message) -> AsyncGenerator[Message | None]:
    """What the process says to a request, None after each silence of HEARTBEAT_S. Left early, the request is given up."""
    loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message]()

    def receive(message: Message) -> None:
        with suppress(RuntimeError):  # the loop is closed: the app is ending
            loop.call_soon_threadsafe(messages.put_nowait, message)

    number = await asyncio.to_thread(lambda: inspector.begin(method, receive, **asked))  # may start the process
    ended = False
    try:
        while not ended:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    message = await messages.get()
            except TimeoutError:
                yield None
                continue
            ended = "piece" not in message
            yield answered(message)
    finally:
        if not ended:
            inspector.cancel(number)
