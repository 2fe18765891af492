"""Who is asking, and what they may do. Identity comes from the server's own knowledge of a request, never from what a page claims.

local      the lab on somebody's own machine: one owner, everything allowed
visitors   a lab that strangers can reach: each browser holds a secret cookie, and owns the runs it started
sign-in    a lab that strangers can reach: whoever is signed in with Hugging Face owns the runs they started; anybody may look

Looking at a run is allowed to its owner, to everybody once it is shared, and to everybody for the example; all else to its owner alone.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Literal

from lorasae.errors import LabError

Access = Literal["local", "visitors", "sign-in"]
Action = Literal["look", "act"]

COOKIE = "lorasae_visitor"
LOCAL_OWNER = "local"
NOBODY = "nobody"  # a visitor who is not signed in, or whose browser keeps no cookie: may look at what is shared, owns nothing


class Refused(LabError):
    """Something that this visitor may not do. The web floor answers 403 (act) or 404 (look: what is private does not exist for others)."""


class NotSignedIn(LabError):
    """Something that needs somebody who can be known again. The web floor answers 401, and pages offer to sign in."""


def access_of(environment: Mapping[str, str]) -> str:
    """Who may use the lab that an environment (LORASAE_ACCESS, on a Space SYSTEM) means, as it says it: not checked."""
    return environment.get("LORASAE_ACCESS") or ("sign-in" if environment.get("SYSTEM") == "spaces" else "local")


def refuse_nobody(asked: str, owner: str, access: Access | None = None) -> None:
    """Refuse what needs an owner.

    Args:
        asked: What was asked for, as a sentence.
        owner: Who asks.
        access: Who may use this lab, where that is known: then the sentence says what to do in it.

    Raises:
        NotSignedIn: If nobody is known to ask.
    """
    if owner != NOBODY:
        return
    if access == "sign-in":
        raise NotSignedIn(asked, "You are not signed in", "Sign in with Hugging Face, then try again; looking needs no sign-in")
    if access is None:
        raise NotSignedIn(asked, "The lab does not know whose it would be", "Sign in, or allow cookies, and reload the page")
    raise NotSignedIn(
        asked, "Your browser keeps no cookie of this lab, by which it would know your runs", "Allow cookies and reload the page"
    )


def new_cookie() -> str:
    """A fresh visitor's secret: 256 bits."""
    return secrets.token_urlsafe(32)


def is_cookie(secret: str) -> bool:
    """Whether a cookie's value is of the form that `new_cookie` gives; a shorter one could be guessed."""
    return re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) is not None


def visitor_of(cookies: Mapping[str, str]) -> str:
    """The owner that a visitor's cookie stands for. What is stored is a hash: whoever reads the index cannot become its owners."""
    secret = cookies.get(COOKIE, "")
    return f"visitor-{hashlib.sha256(secret.encode()).hexdigest()[:24]}" if is_cookie(secret) else NOBODY


def hub_owner(user_id: str) -> str:
    """The owner that a user of the Hub is: by the id that never changes, for a name can be given away."""
    return f"hub-{user_id}"


def is_user_id(user_id: str) -> bool:
    """Whether this can be the id of a user of the Hub; it becomes part of file names."""
    return re.fullmatch(r"[A-Za-z0-9]{1,64}", user_id) is not None


def may(owner: str, run_owner: str, shared: bool, action: Action) -> bool:
    """Whether `owner` may look at or act on a run of `run_owner`."""
    return (owner == run_owner and owner != NOBODY) or (action == "look" and shared)
