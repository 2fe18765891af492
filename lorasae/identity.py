"""Who is asking, and what they may do. Identity comes from the server's own knowledge of a request, never from what a page claims.

local      the lab on somebody's own machine: one owner, everything allowed
visitors   a lab that strangers can reach: each browser holds a secret cookie, and owns the runs it started

Looking at a run is allowed to its owner, to everybody once it is shared, and to everybody for the example; all else to its owner alone.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Literal

from lorasae.errors import LabError

Access = Literal["local", "visitors"]
Action = Literal["look", "act"]

COOKIE = "lorasae_visitor"
LOCAL_OWNER = "local"
NOBODY = "nobody"  # a visitor whose browser keeps no cookie: may look at what is shared, owns nothing


class Refused(LabError):
    """Something that this visitor may not do. The web floor answers 403 (act) or 404 (look: what is private does not exist for others)."""


def new_cookie() -> str:
    """A fresh visitor's secret: 256 bits."""
    return secrets.token_urlsafe(32)


def is_cookie(secret: str) -> bool:
    """Whether a cookie's value is of the form that `new_cookie` gives; a shorter one could be guessed."""
    return re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) is not None


def owner_of(access: Access, cookies: Mapping[str, str]) -> str:
    """The owner a request speaks for. What is stored is a hash: whoever reads the index cannot become its owners."""
    if access == "local":
        return LOCAL_OWNER
    secret = cookies.get(COOKIE, "")
    return f"visitor-{hashlib.sha256(secret.encode()).hexdigest()[:24]}" if is_cookie(secret) else NOBODY


def may(owner: str, run_owner: str, shared: bool, action: Action) -> bool:
    """Whether `owner` may look at or act on a run of `run_owner`."""
    return (owner == run_owner and owner != NOBODY) or (action == "look" and shared)
