"""Discussions and pull requests. A pull request is a discussion with a ref of its own: `refs/pr/<number>`."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.hub.asked import Asked, Refused
from tests.hub.repo_routes import REPO
from tests.hub.storage import MAIN, Repo, now


def opened(repo: Repo, author: str, title: str, description: str, base: str | None) -> dict[str, Any]:
    """A new one; with `base`, a commit, it is a pull request that starts there."""
    held = repo.read()["discussions"]
    discussion = {"num": len(held) + 1, "title": title, "author": author, "createdAt": now(), "status": "open", "isPullRequest": bool(base)}
    repo.change(discussions=[*held, {**discussion, "comments": [description], "merged": None}])
    if base:
        repo.set_ref(f"refs/pr/{discussion['num']}", base)
    return discussion


async def create(request: Request) -> Response:
    asked = Asked(request)
    repo, body = asked.repo(), await asked.json()
    if not asked.signed_in().opens_pull_requests():
        raise Refused(403, "Authorization error.")
    if len(body["title"]) < 3:
        raise Refused(400, '"title" length must be at least 3 characters long')
    base = repo.oid_of("main") if body.get("pullRequest") else None
    made = opened(repo, asked.account.name or "", body["title"], body["description"], base)
    if base:
        _change(repo, made["num"], status="draft")
    return JSONResponse(
        {"num": made["num"], "url": f"{asked.hub.endpoint}/{repo.repo_id}/discussions/{made['num']}", "pullRequest": bool(base)}
    )


async def listing(request: Request) -> Response:
    asked = Asked(request)
    repo, params = asked.repo(), request.query_params
    rows = [_told(repo, one) for one in reversed(repo.read()["discussions"])]
    if params.get("type", "all") != "all":
        rows = [row for row in rows if row["isPullRequest"] == (params["type"] == "pull_request")]
    start = int(params.get("p", 0)) * asked.hub.page_size
    return JSONResponse({"discussions": rows[start : start + asked.hub.page_size], "count": len(rows), "start": start})


async def details(request: Request) -> Response:
    asked = Asked(request)
    repo, one = _found(asked)
    told = {**_told(repo, one), "events": _events(repo, one)}
    if one["isPullRequest"]:
        told |= {
            "changes": {"base": MAIN, **({"mergeCommitId": one["merged"]} if one["merged"] else {})},
            "filesWithConflicts": [],
            "diff": "",
        }
    return JSONResponse(told)


async def comment(request: Request) -> Response:
    asked = Asked(request)
    repo, one = _found(asked)
    asked.signed_in()
    _change(repo, one["num"], comments=[*one["comments"], (await asked.json())["comment"]])
    return JSONResponse({"newMessage": _events(repo, _found(asked)[1])[-1]})


async def status(request: Request) -> Response:
    asked = Asked(request)
    asked.writable()
    repo, one = _found(asked)
    new = (await asked.json())["status"]
    _change(repo, one["num"], status=new)
    event = {"id": "status", "type": "status-change", "createdAt": now(), "author": {"name": asked.account.name}, "data": {"status": new}}
    return JSONResponse({"newStatus": event})


async def merge(request: Request) -> Response:
    """The pull request's files become the main branch's."""
    asked = Asked(request)
    asked.writable()
    repo, one = _found(asked)
    if not one["isPullRequest"] or one["status"] not in ("open", "draft"):
        raise Refused(400, "This pull request cannot be merged")
    files = repo.at(repo.read()["refs"][f"refs/pr/{one['num']}"]).files
    made = repo.commit(MAIN, files, f"{one['title']} (#{one['num']})", author=asked.account.name or "")
    _change(repo, one["num"], status="merged", merged=made.oid)
    return JSONResponse({})


def _found(asked: Asked) -> tuple[Repo, dict[str, Any]]:
    repo = asked.repo()
    one = next((one for one in repo.read()["discussions"] if str(one["num"]) == asked.part("number")), None)
    if one is None:
        raise Refused(404, "Discussion not found")
    return repo, one


def _change(repo: Repo, number: int, **values: Any) -> None:
    repo.change(discussions=[{**one, **values} if one["num"] == number else one for one in repo.read()["discussions"]])


def _told(repo: Repo, one: dict[str, Any]) -> dict[str, Any]:
    shown = {name: one[name] for name in ("num", "title", "createdAt", "status", "isPullRequest")}
    return {**shown, "author": {"name": one["author"]}, "repo": {"name": repo.repo_id, "type": repo.kind}}


def _events(repo: Repo, one: dict[str, Any]) -> list[dict[str, Any]]:
    common = {"createdAt": one["createdAt"], "author": {"name": one["author"]}}
    comments = [
        {
            "id": f"{one['num']}-{n}",
            "type": "comment",
            **common,
            "data": {"edited": False, "hidden": False, "latest": {"raw": text, "html": text}},
        }
        for n, text in enumerate(one["comments"])
    ]
    if not one["isPullRequest"]:
        return comments
    main = {commit.oid for commit in repo.history(repo.oid_of("main"))}
    own = [commit for commit in repo.history(repo.oid_of(f"refs/pr/{one['num']}")) if commit.oid not in main]
    return comments + [{"id": c.oid, "type": "commit", **common, "data": {"subject": c.title, "oid": c.oid}} for c in reversed(own)]


ROUTES: list[BaseRoute] = [
    Route(REPO + "/discussions", create, methods=["POST"]),
    Route(REPO + "/discussions", listing),
    Route(REPO + "/discussions/{number}", details),
    Route(REPO + "/discussions/{number}/comment", comment, methods=["POST"]),
    Route(REPO + "/discussions/{number}/status", status, methods=["POST"]),
    Route(REPO + "/discussions/{number}/merge", merge, methods=["POST"]),
]
