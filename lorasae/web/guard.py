"""What Gradio does not do for itself: whom a request may come from, what it may ask for, and how its answer may be used.

One ASGI layer around everything. It refuses foreign hosts (DNS rebinding) and foreign origins (a web page elsewhere acting for a visitor),
closes the addresses that the lab does not need, bounds what is sent, gives each visitor a cookie and each answer its headers.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorasae.settings import LabSettings
from lorasae.web.addresses import MEGABYTE, Addresses, is_gradios, is_lasting, most_bytes
from lorasae.web.headers import security_headers
from lorasae.web.notice_page import notice_page
from lorasae.web.problems import problem
from lorasae.web.visitors import NewVisitor, new_visitor

_READING = ("GET", "HEAD")


class Refusal(NamedTuple):
    """Why a request is turned away."""

    status: int
    sentence: str


class Guard:
    """The ASGI layer."""

    def __init__(self, app: ASGIApp, settings: LabSettings, pages: Iterable[str]) -> None:
        self.app, self.settings, self.addresses = app, settings, Addresses(pages)
        self._headers = security_headers(settings.access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # the lab has no web sockets
                await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        if refusal := self.refusal(scope["method"], path, headers):
            await _told(refusal, headers)(scope, receive, self._dressed(send, path))
            return
        visitor = new_visitor(headers) if self.settings.access == "visitors" and self.addresses.is_page(path) else None
        if visitor:  # handlers of this very request already speak for the new visitor
            scope = {**scope, "headers": visitor.request_headers(scope["headers"])}
        await _Body(most_bytes(path)).bound(self.app, scope, receive, self._dressed(send, path, visitor))

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why a request is turned away; None if it may pass."""
        if not self._is_ours(headers):
            name = _host_name(headers.get("host", ""))
            return Refusal(403, f"The host name {name!r} is not one of this lab's. Its operator can add it to LORASAE_ALLOWED_HOSTS.")
        if not self.addresses.is_open(path):
            if is_gradios(path):
                return Refusal(403, "The lab does not use this address. Go back to its first page.")
            return Refusal(404, "There is nothing at this address. Go back to the lab's first page.")
        if self._is_foreign(headers) and not (method in _READING and self.addresses.is_entrance(path) and _is_navigation(headers)):
            return Refusal(403, "This request comes from another web page. Open the lab itself and try there.")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > most_bytes(path):
            return _too_much(most_bytes(path))
        return None

    def _is_ours(self, headers: Headers) -> bool:
        """Whether the request names this lab as its host. A page elsewhere that rebinds its own name to this machine does not.

        Strangers may also come by number: no name is bound to it, so that nothing can be rebound; a Space's health checks do.
        """
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        return name in self.settings.allowed_hosts or (self.settings.access != "local" and _is_number(name))

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether a web page elsewhere has sent this. Browsers say so; what says nothing is no browser, and acts for nobody but itself."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site not in (None, "none", "same-origin"):
            return True
        if origin is None or _netloc(origin) == headers.get("host", "").lower():
            return False
        # A proxy before the lab may have put another Host; then the browser's own word counts, for names that are this lab's.
        return not (site == "same-origin" and _host_name(_netloc(origin)) in self.settings.allowed_hosts)

    def _dressed(self, send: Send, path: str, visitor: NewVisitor | None = None) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if is_lasting(path) and message["status"] in (200, 206, 304):
                    headers["cache-control"] = "public, max-age=31536000, immutable"
                else:
                    headers.setdefault("cache-control", "no-cache")
                if visitor:
                    headers.append("set-cookie", visitor.cookie_line)
            await send(message)

        return dressed


class _Body:
    """A request's body that is cut off when it grows past its limit without having said so; the answer is then that it was too much."""

    def __init__(self, limit: int) -> None:
        self._limit, self._seen, self._is_answered = limit, 0, False

    async def bound(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the app answer."""

        async def taken() -> Message:
            message = await receive()
            self._seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if self._is_too_much else message

        async def answered(message: Message) -> None:
            if not self._is_too_much or self._is_answered:
                self._is_answered = True
                await send(message)

        try:
            await app(scope, taken, answered)
        except Exception:
            if not self._is_too_much:  # else it is the app's surprise at the cut
                raise
        if self._is_too_much and not self._is_answered:
            await _told(_too_much(self._limit), Headers(scope=scope))(scope, receive, send)

    @property
    def _is_too_much(self) -> bool:
        return self._seen > self._limit


def _told(refusal: Refusal, headers: Headers) -> Response:
    """A sentence: as a page for a person, else as the lab's scripts read it."""
    if _is_navigation(headers) or headers.get("accept", "").startswith("text/html"):
        return HTMLResponse(notice_page(refusal.sentence), refusal.status)
    return problem(refusal.sentence, refusal.status)


def _too_much(limit: int) -> Refusal:
    return Refusal(413, f"More than {limit // MEGABYTE} MB were sent. Send less.")


def _is_navigation(headers: Headers) -> bool:
    return headers.get("sec-fetch-mode") == "navigate"


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """The name in a Host header, lower-case, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
