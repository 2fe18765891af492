"""What Gradio does not do for itself: whom a request may come from, what it may ask for, and how its answer may be used.

One ASGI layer around everything. It refuses foreign hosts (DNS rebinding) and foreign origins (a web page elsewhere acting for a visitor),
closes Gradio's routes that the lab does not need, bounds what is uploaded, gives each visitor a cookie and each answer its headers.
"""

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorasae.identity import COOKIE, new_cookie
from lorasae.settings import LabSettings

MAX_BODY_BYTES = 25_000_000
_YEAR_S = 365 * 24 * 3600
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_CLOSED = ("/gradio_api/proxy", "/proxy", "/gradio_api/deep_link", "/gradio_api/component_server_disabled", "/monitoring", "/gradio_api/monitoring")
_REMOTE_FILES = ("file=http", "file/http", "proxy=", "file=//", "file=ftp")
_FRAMES = "'self' https://huggingface.co"
_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's templates are compiled in the browser
            "style-src 'self' 'unsafe-inline'",
            "connect-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "frame-src https://www.neuronpedia.org https://neuronpedia.org",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self' https://huggingface.co",
            f"frame-ancestors {_FRAMES}",
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """The ASGI layer."""

    def __init__(self, app: ASGIApp, settings: LabSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if problem := self.refusal(scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1"), headers):
            status, sentence = problem
            await PlainTextResponse(sentence, status)(scope, receive, self._dressed(send, None))
            return
        cookie = self._missing_cookie(headers)
        if cookie:  # handlers of this very request already speak for the new visitor
            scope["headers"] = [*scope["headers"], (b"cookie", f"{COOKIE}={cookie}".encode())]
        await self.app(scope, _bounded(receive), self._dressed(send, self._cookie_line(cookie, headers) if cookie else None))

    def refusal(self, method: str, path: str, query: str, headers: Headers) -> tuple[int, str] | None:
        """Why a request is turned away, with the status: or None if it may pass."""
        host = _host_name(headers.get("host", ""))
        if host not in self.settings.allowed_hosts:
            return 403, f"The host name {host!r} is not one of this lab's. Its operator can add it to LORASAE_ALLOWED_HOSTS."
        asked = unquote(unquote(path)).lower()
        if asked.startswith(_CLOSED) or any(part in f"{asked}?{unquote(query).lower()}" for part in _REMOTE_FILES):
            return 403, "The lab does not use this address."
        if method not in _SAFE_METHODS and self._is_foreign(headers, host):
            return 403, "This request comes from another web page. Open the lab itself and try there."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return 413, f"More than {MAX_BODY_BYTES // 1_000_000} MB were sent. Send less."
        return None

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        if headers.get("sec-fetch-site", "same-origin") == "cross-site":
            return True
        origin = headers.get("origin")
        return origin is not None and (_host_name(urlsplit(origin).netloc) != host or urlsplit(origin).netloc != headers.get("host"))

    def _missing_cookie(self, headers: Headers) -> str | None:
        if self.settings.access == "local" or f"{COOKIE}=" in headers.get("cookie", ""):
            return None
        return new_cookie()

    def _cookie_line(self, value: str, headers: Headers) -> str:
        cookie: Any = SimpleCookie({COOKIE: value})
        cookie[COOKIE].update({"path": "/", "httponly": True, "max-age": _YEAR_S})
        if headers.get("x-forwarded-proto") == "https":  # a Space is shown in a frame of another site
            return cookie[COOKIE].OutputString() + "; SameSite=None; Secure; Partitioned"
        return cookie[COOKIE].OutputString() + "; SameSite=Lax"

    def _dressed(self, send: Send, cookie_line: str | None) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if cookie_line:
                    headers.append("set-cookie", cookie_line)
            await send(message)

        return dressed

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lifespan passes; the lab has no web sockets."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)


def _host_name(host: str) -> str:
    """The name in a Host header, lower-case, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _bounded(receive: Receive) -> Receive:
    """The request's body, cut off when it grows past the limit without having said so."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAX_BODY_BYTES else message

    return bounded
