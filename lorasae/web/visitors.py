"""The cookie by which a lab that strangers can reach knows whose browser asks. It is given with a page, never with anything a page loads:
two requests of one new page would else become two visitors."""

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from lorasae.identity import COOKIE, is_cookie, new_cookie

_YEAR_S = 365 * 24 * 3600
RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class NewVisitor:
    """A browser that had no cookie of the lab, and gets one with this answer."""

    secret: str
    is_encrypted: bool

    def request_headers(self, headers: RawHeaders) -> RawHeaders:
        """The headers of the request as if the browser had sent the cookie."""
        return [*(header for header in headers if header[0] != b"cookie"), (b"cookie", f"{COOKIE}={self.secret}".encode())]

    @property
    def cookie_line(self) -> str:
        """The Set-Cookie header. A Space is shown in a frame of another site: its cookie must be allowed there, and stays its own there."""
        where = "SameSite=None; Secure; Partitioned" if self.is_encrypted else "SameSite=Lax"
        return f"{COOKIE}={self.secret}; Path=/; Max-Age={_YEAR_S}; HttpOnly; {where}"


def new_visitor(headers: Headers) -> NewVisitor | None:
    """A visitor for a request without a cookie of ours; None if it has one."""
    if any(is_cookie(cookie_parser(line).get(COOKIE, "")) for line in headers.getlist("cookie")):
        return None
    return NewVisitor(new_cookie(), headers.get("x-forwarded-proto", "").split(",")[0].strip() == "https")
