"""What a request asks for - who, which repository, which commit - and the Hub's refusals, in the real one's headers and words.

Path parameters arrive still percent-encoded, so that `refs%2Fpr%2F1` is one of them.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.hub.accounts import NOBODY, Account
from tests.hub.storage import Commit, Repo, Storage

if TYPE_CHECKING:
    from tests.hub.server import LocalHub

_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


class Refused(HTTPException):
    """An answer with the Hub's error headers; the body repeats the message."""

    def __init__(self, status: int, message: str, code: str | None = None, body: Mapping[str, Any] | None = None, **headers: str) -> None:
        told = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        super().__init__(status, message, {**told, **{name.replace("_", "-"): value for name, value in headers.items()}})
        self.body = {"error": message, **(body or {})}


async def refusal(_request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that was refused."""
    assert isinstance(error, HTTPException)
    headers = {"X-Request-Id": "local-hub", **(error.headers or {})}
    return JSONResponse(getattr(error, "body", {"error": error.detail}), error.status_code, headers)


class Asked:
    """One request, read with the Hub's eyes."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.hub: LocalHub = request.app.state.hub
        self.storage: Storage = self.hub.storage
        self.account = self._account()

    def _account(self) -> Account:
        kind, _, value = self.request.headers.get("authorization", "").partition(" ")
        if not kind:
            return NOBODY
        account = self.hub.accounts.with_token(value)
        if kind != "Bearer" or account is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return account

    def part(self, name: str) -> str:
        """A decoded part of the path; "" if the route has none of that name."""
        return unquote(self.request.path_params.get(name, ""))

    def flag(self, name: str) -> bool:
        return self.request.query_params.get(name, "").lower() in ("1", "true")

    async def json(self) -> dict[str, Any]:
        return json.loads(await self.request.body() or b"{}")

    async def form(self) -> dict[str, list[str]]:
        return parse_qs((await self.request.body()).decode())

    @property
    def kind(self) -> str:
        """The type of repository: `models` in the path is `model`."""
        return (self.part("kinds") or "models").removesuffix("s")

    @property
    def repo_id(self) -> str:
        return f"{self.part('namespace')}/{self.part('name')}"

    def signed_in(self) -> Account:
        if self.account.token is None:
            raise Refused(401, "Invalid username or password.")
        return self.account

    def repo(self) -> Repo:
        """The repository, if the sender may know of it. Nobody learns whether a private one exists."""
        found = self.storage.repo(self.kind, self.repo_id) if valid(self.repo_id) else None
        if found is None or (found.read()["private"] and not (self.account.reads(self.repo_id) or self._is_of_the_app(found))):
            raise Refused(404 if self.account.token else 401, "Repository not found", "RepoNotFound")
        return found

    def readable(self) -> Repo:
        """The repository, if its files are for the sender: not behind a gate."""
        repo = self.repo()
        settings = repo.read()
        if not settings["gated"] or self.account.reads_gated(settings["accepted"], self.repo_id):
            return repo
        what, page = f"Access to {self.kind} {self.repo_id} is restricted", f"{self.hub.endpoint}/{page_path(repo)}"
        if self.account.token is None:
            raise Refused(401, f"{what}. You must have access to it and be authenticated to access it. Please log in.", "GatedRepo")
        if self.account.name in settings["accepted"]:
            remedy = "Please enable access to public gated repositories in your fine-grained token settings to view this repository."
            raise Refused(403, remedy, "GatedRepo")
        raise Refused(403, f"{what} and you are not in the authorized list. Visit {page} to ask for access.", "GatedRepo")

    def writable(self) -> Repo:
        repo = self.repo()
        self.signed_in()
        if not self.may_write(repo):
            raise Refused(403, "Authorization error.")
        return repo

    def may_write(self, repo: Repo) -> bool:
        """Whether the sender's commits are taken."""
        return self.account.writes(self.repo_id) or self._is_of_the_app(repo)

    def _is_of_the_app(self, repo: Repo) -> bool:
        return self.account.is_app and repo.read()["by_app"] and self.account.name == self.part("namespace")

    def commit(self, repo: Repo) -> Commit:
        """The commit that the path names; `main` if it names none."""
        revision = self.part("revision") or "main"
        oid = repo.oid_of(revision)
        if oid is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo.at(oid)


def entry_not_found(commit: Commit) -> Refused:
    """The client remembers which commit lacks the file."""
    return Refused(404, "Entry not found", "EntryNotFound", X_Repo_Commit=commit.oid)


def page_path(repo: Repo) -> str:
    """Where the repository's page is: models have no prefix."""
    return repo.repo_id if repo.kind == "model" else f"{repo.kind}s/{repo.repo_id}"


def paged(asked: Asked, items: list[Any], size: int) -> JSONResponse:
    """One page of `items`, with a Link to the next if there is one."""
    start = int(asked.request.query_params.get("cursor", 0))
    following = start + size
    headers = {}
    if following < len(items):
        url = asked.request.url.include_query_params(cursor=following)
        headers["Link"] = f'<{asked.hub.endpoint}{url.path}?{url.query}>; rel="next"'
    return JSONResponse(items[start:following], headers=headers)


def valid(repo_id: str) -> bool:
    return all(_NAME.fullmatch(part) for part in repo_id.split("/"))
