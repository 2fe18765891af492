"""A Hub on this machine that the unmodified huggingface_hub client talks to: started, filled, asked, and spoiled on purpose.

    with local_hub(folder) as hub:
        token = hub.accounts.token("alice")
        hub.publish(files, "google/gemma-2-2b", gated="manual")
        hub.api(token).whoami()                                     # in this process: see `reachable`
        subprocess.run(command, env=hub.environment(cache, token))  # in another one

The client reads HF_ENDPOINT and its switches once, when it is imported: a process of its own, which gets them from `environment`, is the
honest test; in this one they are exchanged while the Hub runs.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import uvicorn
from huggingface_hub import HfApi, constants, hf_api
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.hub import commit_routes, discussions, downloads, info_routes, oauth, repo_routes
from tests.hub.accounts import Accounts
from tests.hub.asked import refusal
from tests.hub.faults import Asking, Faults, FaultyWire
from tests.hub.storage import MAIN, Commit, Entry, Repo, Storage, is_large

_ROUTES = [*repo_routes.ROUTES, *commit_routes.ROUTES, *discussions.ROUTES, *downloads.ROUTES, *info_routes.ROUTES, *oauth.ROUTES]
_LONG_AGO = "2026-01-01T00:00:00.000Z"  # published repositories have the same commit ids in every test


class _NotingProtocol(H11Protocol):
    """Tells the application how to end a connection: by its transport, found under the client's address."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state.setdefault("transports", {})[transport.get_extra_info("peername")] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.app_state["transports"].pop(self.transport.get_extra_info("peername"), None)


def _disconnect(scope: Any) -> None:
    """What was written before still goes out; nothing after it."""
    if transport := scope["state"]["transports"].get(tuple(scope["client"])):
        transport.close()


async def _nobody_listens(_request: Request, _error: Exception) -> Response:
    """The client went away before it had said everything: no failure of the Hub."""
    return Response(status_code=400)


class LocalHub:
    """The server and its state. `page_size` and `part_bytes` may be set small to see many pages and uploads in parts."""

    def __init__(self, root: Path) -> None:
        self.accounts, self.storage, self.faults = Accounts(), Storage(root), Faults()
        self.log: list[Asking] = []
        self.failures: list[Exception] = []  # what the Hub itself could not do: bugs of this double
        self.page_size, self.part_bytes = 1000, 16_000_000
        self.oauth_expires_s = oauth.EXPIRES_S
        self.next_oauth_token: str | None = None  # a canary that a test brings
        self.xet_root = root / "xet"
        self.xet_url = f"local://{self.xet_root}"
        app = Starlette(
            routes=_ROUTES, exception_handlers={HTTPException: refusal, ClientDisconnect: _nobody_listens, Exception: self._failed}
        )
        app.state.hub = self
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle's delay on
        self._socket.bind(("127.0.0.1", 0))
        wire = FaultyWire(app, self.faults, self.log, _disconnect)
        config = uvicorn.Config(wire, http=_NotingProtocol, ws="none", lifespan="off", log_config=None, log_level="critical")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="local-hub", daemon=True)
        port = self._socket.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.storage_endpoint = f"http://localhost:{port}"  # another host for the client: no token goes there

    async def _failed(self, _request: Request, error: Exception) -> Response:
        self.failures.append(error)
        return Response("A bug of the test Hub", 500)

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    def api(self, token: str | bool = False) -> HfApi:
        """The client for this Hub, as the owner of `token`; False is a visitor without one."""
        return HfApi(endpoint=self.endpoint, token=token)

    def environment(self, cache: Path, token: str | None = None, *, xet: bool = False) -> dict[str, str]:
        """The environment of a process that knows no other Hub, with its cache in a folder of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        ours = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": str(int(not xet)),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return {**kept, **ours, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **({"HF_TOKEN": token} if token else {})}

    def publish(
        self,
        files: Path | Mapping[str, bytes],
        repo_id: str,
        repo_type: str = "model",
        *,
        private: bool = False,
        gated: str | bool = False,
        accepted: tuple[str, ...] = (),
    ) -> Commit:
        """Put a repository there without the protocol; `accepted`: users whom its gate lets through."""
        if isinstance(files, Path):
            files = {str(path.relative_to(files)): path.read_bytes() for path in sorted(files.rglob("*")) if path.is_file()}
        namespace = repo_id.split("/")[0]
        settings = {"private": private, "gated": gated, "accepted": list(accepted)}
        repo = self.storage.create(repo_type, repo_id, author=namespace, date=_LONG_AGO, **settings)
        held = repo.at(repo.read()["refs"][MAIN]).files
        entries = {path: self._add(path, content) for path, content in files.items()}
        return repo.commit(MAIN, {**held, **entries}, "Upload", author=namespace, date=_LONG_AGO)

    def _add(self, path: str, content: bytes) -> Entry:
        large = is_large(path, len(content), content[:512])
        return self.storage.add_large(content) if large else self.storage.add_plain(content)

    def repo(self, repo_id: str, repo_type: str = "model") -> Repo:
        """The repository itself, to see what really arrived."""
        found = self.storage.repo(repo_type, repo_id)
        assert found, f"{repo_id} is not on the Hub"
        return found

    def asked(self, method: str = "", path: str = "") -> list[Asking]:
        """The requests so far of this method whose path and query contain `path`."""
        return [one for one in self.log if method in ("", one.method) and path in one.url]


@contextmanager
def local_hub(root: Path) -> Iterator[LocalHub]:
    """A running Hub with its state in `root`, and this process knowing no other."""
    hub = LocalHub(root)
    hub.start()
    try:
        with reachable(hub):
            yield hub
    finally:
        hub.stop()
    if hub.failures:
        raise hub.failures[0]


@contextmanager
def reachable(hub: LocalHub) -> Iterator[None]:
    """Inside, huggingface_hub and transformers in this process talk to `hub`, endpoint named or not, with a cache and without a token of
    their own. The offline switch that the tests' conftest sets is lifted. `datasets` keeps what it read at import: give it a process.
    """
    ours = {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(hub.storage.root / "client" / "cache"),
        "HF_TOKEN_PATH": str(hub.storage.root / "client" / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }
    foreign_token = {"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": ""}
    with ExitStack() as patched:
        for name, value in ours.items():
            patched.enter_context(mock.patch.object(constants, name, value))
        patched.enter_context(mock.patch.object(hf_api.api, "endpoint", hub.endpoint))  # behind huggingface_hub.list_models and the like
        patched.enter_context(mock.patch.dict(os.environ, foreign_token))
        yield
