"""What can go wrong between a client and the Hub, on purpose and at a chosen request; and the log of what was asked.

    hub.faults.inject(answer(429, retry_after=1), method="POST", path="/commit/")
    hub.faults.inject(cut(after=1000), path="/objects/", nth=2)

A fault that says "carried out" lets the Hub do its work and spoils only the answer.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class Asking:
    """One request as it came in."""

    number: int  # from 1, over the Hub's life
    method: str
    url: str  # path and query, as sent
    host: str
    authorized: bool  # it carried a token; which one is not kept
    range: str  # the part of a file that was asked for; "" for all of it


@dataclass(frozen=True)
class Fault:
    """Exactly one of the fields is set; made by the functions below."""

    status: int | None = None  # not carried out
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # carried out; the connection ends after so many bytes of the answer's body
    lost: bool = False  # carried out; the connection ends before the answer
    dropped: bool = False  # not carried out; the connection ends
    stall_s: float | None = None  # carried out, late
    corrupted: bool = False  # carried out; the answer's body has the right length and one wrong bit per block


def answer(status: int, message: str = "A fault of the test", *, code: str | None = None, retry_after: int | None = None) -> Fault:
    """Refuse, with the Hub's headers; `retry_after` in seconds."""
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    if retry_after is not None:
        headers |= {
            "Retry-After": str(retry_after),
            "RateLimit": f'"api";r=0;t={retry_after}',
            "RateLimit-Policy": '"fixed window";"api";q=500;w=300',
        }
    return Fault(status=status, headers=headers)


def cut(after: int) -> Fault:
    """End the connection after so many bytes of the answer's body."""
    return Fault(cut_after=after)


def lose_answer() -> Fault:
    """Do what was asked, and never say so."""
    return Fault(lost=True)


def drop() -> Fault:
    """End the connection before anything was done."""
    return Fault(dropped=True)


def stall(seconds: float) -> Fault:
    """Answer, but later."""
    return Fault(stall_s=seconds)


def corrupt() -> Fault:
    """Answer with other bytes, as many of them."""
    return Fault(corrupted=True)


@dataclass
class Rule:
    """A fault waiting for its requests: of those that match, number `nth` and the following, `times` in all."""

    fault: Fault
    matches: Callable[[Asking], bool]
    nth: int
    times: int | None
    seen: int = 0
    hits: int = 0

    def strikes(self, asking: Asking) -> bool:
        if not self.matches(asking):
            return False
        self.seen += 1
        struck = self.seen >= self.nth and (self.times is None or self.hits < self.times)
        self.hits += struck
        return struck


class Faults:
    """The rules in force. The first that strikes a request decides."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def inject(
        self,
        fault: Fault,
        *,
        method: str = "",
        path: str = "",
        nth: int = 1,
        times: int | None = 1,
        when: Callable[[Asking], bool] = lambda asking: True,
    ) -> Rule:
        """Spoil requests of this method whose path and query hold the regular expression and that `when` takes; `times=None`: all."""

        def matches(asking: Asking) -> bool:
            return method in ("", asking.method) and re.search(path, asking.url) is not None and when(asking)

        rule = Rule(fault, matches, nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def striking(self, asking: Asking) -> Fault | None:
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.strikes(asking)), None)


class FaultyWire:
    """Stands before the Hub's routes: writes the log, and does to a request what a rule says."""

    def __init__(self, app: ASGIApp, faults: Faults, log: list[Asking], disconnect: Callable[[Scope], None]) -> None:
        self._app, self._faults, self._log, self._disconnect = app, faults, log, disconnect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        # the routes see the path as it was sent: %2F inside a part of it stays inside
        scope = {**scope, "path": scope["raw_path"].decode(), "root_path": ""}
        asking = self._noted(scope)
        fault = self._faults.striking(asking) or Fault()
        if fault.stall_s is not None:
            await asyncio.sleep(fault.stall_s)
        if fault.dropped:
            return self._disconnect(scope)
        if fault.status is not None:
            return await _refuse(fault, send, with_body=asking.method != "HEAD")
        return await self._app(scope, receive, self._spoiled(fault, scope, send))

    def _noted(self, scope: Scope) -> Asking:
        headers = dict(scope["headers"])
        query = scope["query_string"].decode()
        url = scope["path"] + (f"?{query}" if query else "")
        host, part = headers.get(b"host", b"").decode(), headers.get(b"range", b"").decode()
        asking = Asking(len(self._log) + 1, scope["method"], url, host, b"authorization" in headers, part)
        self._log.append(asking)
        return asking

    def _spoiled(self, fault: Fault, scope: Scope, send: Send) -> Send:
        """How the answer is sent."""
        if fault.lost or fault.cut_after is not None:
            return self._broken_off(-1 if fault.lost else fault.cut_after or 0, scope, send)
        return _with_wrong_bits(send) if fault.corrupted else send

    def _broken_off(self, left: int, scope: Scope, send: Send) -> Send:
        """Sends `left` bytes of the body and ends the connection; with -1 not even the headers."""

        async def broken_off(message: Message) -> None:
            nonlocal left
            body = message.get("body", b"")
            if left < 0 or len(body) > left:
                if left > 0:
                    await send({"type": "http.response.body", "body": body[:left], "more_body": True})
                left = -1
                return self._disconnect(scope)
            left -= len(body)
            return await send(message)

        return broken_off


def _with_wrong_bits(send: Send) -> Send:
    async def wrong(message: Message) -> None:
        body = message.get("body", b"")
        await send({**message, "body": body[:-1] + bytes([body[-1] ^ 1])} if body else message)

    return wrong


async def _refuse(fault: Fault, send: Send, *, with_body: bool) -> None:
    body = json.dumps({"error": fault.headers["X-Error-Message"]}).encode() if with_body else b""
    headers = {**fault.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
