"""Signing in with Hugging Face: `/auth/sign-in` leads there, `/auth/callback` comes back, `/auth/sign-out`; `/lab/visitor` says who is in.

What must be remembered between going and coming back is sealed into a short cookie of that browser: the lab keeps nothing, and an answer
that was meant for another browser is worth nothing.
"""

import secrets
import time
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lorasae.errors import LabError
from lorasae.identity import NOBODY
from lorasae.lab import Lab
from lorasae.settings import HubApp
from lorasae.web.access import Owner
from lorasae.web.addresses import CALLBACK
from lorasae.web.answers import Answer
from lorasae.web.hub_oauth import address_to_agree, login_for
from lorasae.web.logins import COOKIE, login_cookie, login_of, sealed, unsealed
from lorasae.web.notice_page import notice_page

_ATTEMPT = "lorasae_signing_in"
_ATTEMPT_S = 600
_OWN_TAB = "Signing in needs a tab of its own: Hugging Face does not show its question inside another page."


def add_sign_in_routes(app: FastAPI, lab: Lab) -> None:
    """The routes; where nobody can sign in, they say so."""

    @app.get("/lab/visitor")
    def visitor(request: Request, owner: Owner) -> Answer:
        login = login_of(lab.settings, request.cookies)
        return Answer(
            {
                "access": lab.settings.access,
                "can_sign_in": lab.settings.hub_app is not None,
                "name": login.name if login else None,
                "user_id": login.user_id if login else None,
                "may_start": owner != NOBODY,
                "is_operator": owner in lab.settings.operators,
            }
        )

    @app.get("/auth/sign-in")
    def sign_in(request: Request, to: str = "/") -> Response:
        if request.headers.get("sec-fetch-dest") in ("iframe", "frame"):
            address = f"/auth/sign-in?to={quote(_inside(to), safe='')}"
            return HTMLResponse(notice_page(_OWN_TAB, address, "Open the lab in its own tab", own_tab=True))
        try:
            hub_app, state, verifier = _hub_app(lab), secrets.token_urlsafe(32), secrets.token_urlsafe(48)
            answer = RedirectResponse(address_to_agree(hub_app, _callback(hub_app, request), state, verifier), 303)
        except LabError as problem:
            return HTMLResponse(notice_page(str(problem)), 503)
        attempt = sealed({"state": state, "verifier": verifier, "to": _inside(to)}, hub_app)
        _set_cookie(answer, request, _ATTEMPT, attempt, _ATTEMPT_S, CALLBACK)
        return answer

    @app.get(CALLBACK)
    def come_back(request: Request, code: str = "", state: str = "", error: str = "") -> Response:
        try:
            hub_app = _hub_app(lab)
            attempt = _attempt(hub_app, request, state)
            if error:  # most often: they said no
                return RedirectResponse(attempt["to"], 303)
            login = login_for(hub_app, _callback(hub_app, request), code, attempt["verifier"])
            cookie = login_cookie(login, hub_app)
        except LabError as problem:
            return HTMLResponse(notice_page(str(problem), "/auth/sign-in", "Sign in again"), 400)
        answer = RedirectResponse(attempt["to"], 303)
        answer.delete_cookie(_ATTEMPT, path=CALLBACK)
        _set_cookie(answer, request, COOKIE, cookie, login.expires_at - int(time.time()), "/")
        return answer

    @app.post("/auth/sign-out")
    def sign_out() -> Answer:
        answer = Answer({"ok": True})
        answer.delete_cookie(COOKIE, path="/")
        return answer


def _hub_app(lab: Lab) -> HubApp:
    if lab.settings.hub_app is None:
        remedy = "Go on without; on a Space, set `hf_oauth: true` in the front matter of its README"
        raise LabError("Signing in was asked for", "This lab is not set up for it", remedy)
    return lab.settings.hub_app


def _attempt(app: HubApp, request: Request, state: str) -> dict[str, str]:
    """What this browser began."""
    attempt = unsealed(request.cookies.get(_ATTEMPT, ""), app, _ATTEMPT_S)
    if attempt is None or not secrets.compare_digest(state.encode(), attempt["state"].encode()):
        found = "This browser did not begin to sign in here, or did more than ten minutes ago, or keeps no cookies"
        raise LabError("You were coming back from Hugging Face", found, "Allow cookies for this page, and sign in again")
    return attempt


def _callback(app: HubApp, request: Request) -> str:
    address = app.address or f"{request.url.scheme}://{request.headers['host']}"
    return address + CALLBACK


def _inside(to: str) -> str:
    """Where to go afterwards: a page of this lab, never another site's address."""
    parts = urlsplit(to)
    is_path = to.startswith("/") and not to.startswith("//") and not parts.scheme and not parts.netloc
    return to if is_path and "\\" not in to and to.isprintable() and len(quote(to)) <= 1000 else "/"


def _set_cookie(answer: Response, request: Request, name: str, value: str, seconds: int, path: str) -> None:
    """Lax, not None: a frame on another site's page never acts for whoever is signed in."""
    is_encrypted = request.headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip() == "https"
    answer.set_cookie(name, value, max_age=seconds, path=path, secure=is_encrypted, httponly=True, samesite="lax")
