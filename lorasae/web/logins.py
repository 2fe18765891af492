"""Who is signed in with Hugging Face, and the token that they came with: sealed into a cookie of their browser, and kept nowhere else.

The seal's key is made of the secret that the Hub gave this lab. A restart changes nothing; a new secret, as after the app was made anew,
signs everybody out.
"""

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, NOBODY, hub_owner, is_user_id, visitor_of
from lorasae.settings import HubApp, LabSettings

COOKIE = "lorasae_login"
_MOST_CHARACTERS = 3800  # browsers drop cookies of more than 4096 bytes without a word


@dataclass(frozen=True)
class Login:
    """A signed-in visitor, as the browser shows with every request."""

    user_id: str
    name: str
    token: str = field(repr=False)  # of the Hub, with the scopes that were agreed to
    expires_at: int  # seconds since 1970

    @property
    def owner(self) -> str:
        """Whose runs they see."""
        return hub_owner(self.user_id)


def sealed(what: Mapping[str, Any], app: HubApp) -> str:
    """A cookie's value that only this lab can read and make.

    Raises:
        LabError: If it is more than a browser keeps.
    """
    value = _fernet(app).encrypt(json.dumps(what).encode()).decode()
    if len(value) > _MOST_CHARACTERS:
        found = f"What the browser would have to keep has {len(value)} characters, more than browsers do"
        raise LabError("Signing in was asked for", found, "Tell whoever runs this lab")
    return value


def unsealed(value: str, app: HubApp, most_s: int | None = None) -> dict[str, Any] | None:
    """What was sealed into a cookie; None if this lab did not make it, or longer ago than most_s."""
    try:
        return json.loads(_fernet(app).decrypt(value.encode(), ttl=most_s))
    except (InvalidToken, ValueError):
        return None


def login_cookie(login: Login, app: HubApp) -> str:
    """The value of the cookie of somebody who has signed in."""
    return sealed(asdict(login), app)


def login_of(settings: LabSettings, cookies: Mapping[str, str]) -> Login | None:
    """Who is signed in; None if nobody is, or no longer."""
    value = cookies.get(COOKIE, "")
    if settings.hub_app is None or not value:
        return None
    login = _login(unsealed(value, settings.hub_app))
    return login if login is not None and login.expires_at > time.time() else None


def owner_of(settings: LabSettings, cookies: Mapping[str, str]) -> str:
    """The owner a request speaks for."""
    if settings.access == "local":
        return LOCAL_OWNER
    if settings.access == "visitors":
        return visitor_of(cookies)
    login = login_of(settings, cookies)
    return login.owner if login else NOBODY


def token_of(settings: LabSettings, cookies: Mapping[str, str]) -> str | bool | None:
    """The token that asks the Hub for whoever asks the lab: the machine's own user's (None), a signed-in visitor's, or none at all."""
    if settings.access == "local":
        return None
    login = login_of(settings, cookies)
    return login.token if login else False


def _login(held: Mapping[str, Any] | None) -> Login | None:
    try:
        login = Login(**held) if held else None
    except TypeError:
        return None
    return login if login and is_user_id(login.user_id) else None


def _fernet(app: HubApp) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"lorasae login {app.client_secret}".encode()).digest()))
