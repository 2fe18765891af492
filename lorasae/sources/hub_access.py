"""As whom the Hub is asked: as the machine's own user, as a visitor with a token of theirs, or as nobody; and how much it may send.

A token reaches the process that works for somebody over its standard input: not in its environment, not on its command line, not in a file.
There it counts inside one block.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lorasae.identity import access_of

HubToken = str | bool | None  # None: the login of this machine's own user, if any; False: none at all

_MOST_BYTES: ContextVar[int | None] = ContextVar("most_bytes", default=None)
_WAYS_IN = {
    "local": "log in with hf auth login",
    "sign-in": "sign in with Hugging Face",
    "visitors": "choose what is open to everybody: nobody signs in to this lab",
}
_TOKEN: ContextVar[HubToken] = ContextVar("hub_token", default=None)


@contextmanager
def asking_as(token: HubToken) -> Iterator[None]:
    """Inside the block, what is fetched from the Hub is asked for with this token."""
    before = _TOKEN.set(token)
    try:
        yield
    finally:
        _TOKEN.reset(before)


@contextmanager
def fetching_at_most(n_bytes: int | None) -> Iterator[None]:
    """Inside the block, no repository may bring more than so many bytes; None: as many as the disk takes."""
    before = _MOST_BYTES.set(n_bytes)
    try:
        yield
    finally:
        _MOST_BYTES.reset(before)


def most_bytes() -> int | None:
    """How much one repository may bring."""
    return _MOST_BYTES.get()


def token_in_use() -> HubToken:
    """The token to ask with."""
    return _TOKEN.get()


def token_itself(token: HubToken) -> str | None:
    """The token in letters: a visitor's own, or the login of this machine's user where there is one."""
    if token is None:
        from huggingface_hub import get_token

        return get_token()
    return token or None  # type: ignore[return-value]


def is_known(token: HubToken) -> bool:
    """Whether the Hub is told who asks."""
    return bool(token_itself(token))


def way_in() -> str:
    """What somebody whom the Hub does not know does about it, as the end of a sentence: otherwise in a terminal than in a lab for many."""
    return _WAYS_IN.get(access_of(os.environ), _WAYS_IN["local"])


def way_back_in() -> str:
    """The same for somebody whose token the Hub no longer takes; a login does not help where HF_TOKEN outweighs it."""
    is_named = access_of(os.environ) == "local" and os.environ.get("HF_TOKEN")
    return "set HF_TOKEN to it where the lab is started" if is_named else way_in()


def token_from_stdin() -> HubToken:
    """The token that whoever started this process wrote to it; False if nothing was written: then the Hub is asked as by nobody."""
    return sys.stdin.readline().strip() or False
