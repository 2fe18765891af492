"""The settings of the app as a whole, read once from the environment: where it lives, who may use it, where it listens."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lorasae.errors import LabError
from lorasae.home import home
from lorasae.identity import Access, access_of, hub_owner, is_user_id
from lorasae.jobs.workers import has_zero_gpu
from lorasae.keeping.place import Place, keeping_place


@dataclass(frozen=True)
class HubApp:
    """What the Hub knows this lab as, where people sign in with Hugging Face: a Space with `hf_oauth: true` is told so."""

    client_id: str  # OAUTH_CLIENT_ID
    client_secret: str = field(repr=False)  # OAUTH_CLIENT_SECRET
    scopes: str  # OAUTH_SCOPES
    provider: str  # OPENID_PROVIDER_URL
    address: str  # of this lab, as browsers know it; empty: as they say


@dataclass(frozen=True)
class LabSettings:
    """What must be known before the first page is built."""

    home: Path  # LORASAE_HOME: runs, index, caches
    access: Access  # LORASAE_ACCESS: local, visitors or sign-in; sign-in on a Space
    host: str  # LORASAE_HOST: 127.0.0.1, on a Space 0.0.0.0
    port: int  # LORASAE_PORT
    allowed_hosts: tuple[str, ...]  # host names that requests may name; LORASAE_ALLOWED_HOSTS adds some, comma-separated
    operators: frozenset[str] = frozenset()  # owners without a visitor's limits: a Space's creator; LORASAE_OPERATORS adds user ids
    hub_app: HubApp | None = None  # where one can sign in
    space: str = ""  # SPACE_ID: the Hugging Face Space this lab is; empty elsewhere
    keep: Place | None = None  # LORASAE_KEEP, else the bucket that is mounted into a Space: where runs outlive this machine's disk
    zero_gpu: bool = False  # SPACES_ZERO_GPU: a Space that is lent a GPU for single clicks


def settings_from(environment: Mapping[str, str] = os.environ) -> LabSettings:
    """The app's settings.

    Raises:
        LabError: For a value that means nothing.
    """
    on_space = environment.get("SYSTEM") == "spaces"
    access = access_of(environment)
    if access not in ("local", "visitors", "sign-in"):
        raise LabError(f"LORASAE_ACCESS={access} was given", "There are: local, visitors, sign-in", "Choose one of them")
    host = environment.get("LORASAE_HOST") or ("0.0.0.0" if on_space else "127.0.0.1")
    if access == "local" and host not in ("127.0.0.1", "localhost", "::1"):
        raise LabError(
            f"LORASAE_HOST={host} was given with LORASAE_ACCESS=local",
            "Everybody who reaches that address would own every run and could read this machine's files",
            "Set LORASAE_ACCESS=visitors or sign-in, or keep to 127.0.0.1",
        )
    port = environment.get("LORASAE_PORT") or "7860"
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise LabError(f"LORASAE_PORT={port} was given", "A port is a number from 1 to 65535", "Choose one, such as 7860")
    named = [environment.get("SPACE_HOST", ""), *environment.get("LORASAE_ALLOWED_HOSTS", "").split(",")]
    hosts = ("127.0.0.1", "localhost", "::1", *(name.strip().lower() for name in named if name.strip()))
    app = _hub_app(environment) if access == "sign-in" else None
    return LabSettings(
        home(),
        access,
        host,
        int(port),
        hosts,
        operators=_operators(environment),
        hub_app=app,
        space=environment.get("SPACE_ID", "") if on_space else "",
        keep=keeping_place(environment),
        zero_gpu=has_zero_gpu(environment),
    )


def _hub_app(environment: Mapping[str, str]) -> HubApp | None:
    """None where the Hub has not made this lab one of its apps: then nobody can sign in."""
    client_id, secret = environment.get("OAUTH_CLIENT_ID"), environment.get("OAUTH_CLIENT_SECRET")
    if not client_id or not secret:
        return None
    host = environment.get("SPACE_HOST", "")
    provider = environment.get("OPENID_PROVIDER_URL") or "https://huggingface.co"
    scopes = environment.get("OAUTH_SCOPES") or "openid profile"
    return HubApp(client_id, secret, scopes, provider.rstrip("/"), f"https://{host}" if host else "")


def _operators(environment: Mapping[str, str]) -> frozenset[str]:
    named = [environment.get("SPACE_CREATOR_USER_ID", ""), *environment.get("LORASAE_OPERATORS", "").split(",")]
    ids = {name.strip() for name in named if name.strip()}
    if foreign := sorted(each for each in ids if not is_user_id(each)):
        asked = f"LORASAE_OPERATORS with {foreign[0]!r} was given"
        raise LabError(
            asked,
            "A user's id is letters and digits",
            "Give ids, not names: the lab shows yours when you are signed in and press your name",
        )
    return frozenset(map(hub_owner, ids))
