"""Sign in with Hugging Face: the question to the visitor, the code, the token for it, and who they are. PKCE is insisted on.

The visitor is not asked for a password: the page of the question has a button for everybody on the Hub, and one to say no.
"""

import base64
import hashlib
import html
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tests.hub.accounts import user_id
from tests.hub.asked import Asked, Refused

CLIENT_ID, CLIENT_SECRET = "the-lab", "the-lab-secret"
SCOPES = "openid profile contribute-repos gated-repos"
EXPIRES_S = 28_800


@dataclass(frozen=True)
class _Code:
    user: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str


_CODES: dict[str, _Code] = {}


def space_environment(hub: Any, host: str = "") -> dict[str, str]:
    """What a Space with `hf_oauth: true` is told."""
    app = {"OAUTH_CLIENT_ID": CLIENT_ID, "OAUTH_CLIENT_SECRET": CLIENT_SECRET, "OAUTH_SCOPES": SCOPES, "OPENID_PROVIDER_URL": hub.endpoint}
    return {**app, **({"SPACE_HOST": host} if host else {})}


async def metadata(request: Request) -> Response:
    endpoint = Asked(request).hub.endpoint
    names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
    return JSONResponse({"issuer": endpoint, **{name: f"{endpoint}/oauth/{path}" for name, path in names.items()}})


async def question(request: Request) -> Response:
    """The page on which a visitor agrees."""
    asked = request.query_params
    if asked.get("client_id") != CLIENT_ID or asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
        raise Refused(400, "invalid_request")
    if not urlsplit(asked["redirect_uri"]).path.startswith(("/auth/callback", "/login/callback")):
        raise Refused(400, "redirect_uri is not allowed")
    users = Asked(request).hub.accounts.users()
    hidden = "".join(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in asked.items())
    buttons = "".join(f'<button name="user" value="{name}">Authorize as {name}</button>' for name in users)
    return HTMLResponse(f'<!doctype html><form method="post">{hidden}{buttons}<button name="user" value="">Deny</button></form>')


async def answer(request: Request) -> Response:
    """The visitor has pressed a button."""
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode(), keep_blank_values=True).items()}
    back = {"state": form.get("state", "")}
    if not form["user"]:
        return RedirectResponse(f"{form['redirect_uri']}?{urlencode({'error': 'access_denied', **back})}", 303)
    code = secrets.token_urlsafe(16)
    _CODES[code] = _Code(form["user"], tuple(form["scope"].split()), form["redirect_uri"], form["code_challenge"])
    return RedirectResponse(f"{form['redirect_uri']}?{urlencode({'code': code, **back})}", 303)


async def token(request: Request) -> Response:
    """A token for a code, once, for the app that it was given to."""
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    client = base64.b64decode(value).decode() if kind == "Basic" else f"{form.get('client_id')}:{form.get('client_secret')}"
    code = _CODES.pop(form.get("code", ""), None)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
    if client != f"{CLIENT_ID}:{CLIENT_SECRET}":
        return JSONResponse({"error": "invalid_client"}, 401)
    if code is None or code.redirect_uri != form.get("redirect_uri") or code.challenge != challenge:
        return JSONResponse({"error": "invalid_grant"}, 400)
    hub = request.app.state.hub
    given = hub.accounts.token(code.user, "oauth", scopes=code.scopes, value=hub.next_oauth_token)
    told = {"access_token": given, "token_type": "bearer", "expires_in": hub.oauth_expires_s, "scope": " ".join(code.scopes)}
    return JSONResponse({**told, "expires_at": int(time.time()) + hub.oauth_expires_s})


async def userinfo(request: Request) -> Response:
    account = Asked(request).signed_in()
    name = str(account.name)
    return JSONResponse({"sub": user_id(name), "preferred_username": name, "name": name.title(), "orgs": []})


ROUTES: list[BaseRoute] = [
    Route("/.well-known/openid-configuration", metadata),
    Route("/oauth/authorize", question),
    Route("/oauth/authorize", answer, methods=["POST"]),
    Route("/oauth/token", token, methods=["POST"]),
    Route("/oauth/userinfo", userinfo),
]
