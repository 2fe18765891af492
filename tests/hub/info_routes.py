"""What is told about repositories: their list, one's card and files, its tree, its history."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.hub.asked import Asked, entry_not_found, paged
from tests.hub.front_matter import front_matter, tags_of
from tests.hub.repo_routes import REPO, runtime
from tests.hub.storage import REPO_TYPES, Commit, Entry, Repo, git_oid, pointer

_BRIEF = {
    "id",
    "modelId",
    "private",
    "gated",
    "tags",
    "downloads",
    "likes",
    "createdAt",
    "lastModified",
    "pipeline_tag",
    "library_name",
    "sdk",
}
_SORTS = {"lastModified": "lastModified", "createdAt": "createdAt", "downloads": "downloads", "likes": "likes"}


async def listing(request: Request) -> Response:
    """Those the sender may know of that meet every condition; newest first if sorted by date."""
    asked = Asked(request)
    params = request.query_params
    if asked.kind not in REPO_TYPES:
        raise HTTPException(404, "Not found")
    found = []
    for repo in asked.storage.repos(asked.kind):
        if repo.read()["private"] and not asked.account.reads(repo.repo_id):
            continue
        info = described(repo, repo.at(repo.read()["refs"]["refs/heads/main"]))
        if _meets(info, params, params.getlist("filter")):
            found.append(info)
    sort = params.get("sort", "trendingScore")
    if sort in _SORTS:
        found.sort(key=lambda info: info[_SORTS[sort]], reverse=params.get("direction", "-1") == "-1")
    size = min(int(params.get("limit", asked.hub.page_size)), asked.hub.page_size)
    return paged(
        asked, [_chosen(info, params.getlist("expand"), full=asked.flag("full"), card=asked.flag("cardData")) for info in found], size
    )


def _meets(info: Mapping[str, Any], params: Mapping[str, str], filters: list[str]) -> bool:
    return (
        params.get("search", "").lower() in info["id"].lower()
        and params.get("author", info["author"]) == info["author"]
        and params.get("pipeline_tag", info["pipeline_tag"]) == info["pipeline_tag"]
        and ("gated" not in params or (params["gated"].lower() == "true") == bool(info["gated"]))
        and set(filters) <= set(info["tags"])
    )


def _chosen(info: Mapping[str, Any], expand: list[str], *, full: bool, card: bool) -> dict[str, Any]:
    """The part of what is known that was asked for."""
    names = {"id", "modelId", *expand} if expand else _BRIEF | ({"author", "sha", "siblings"} if full else set())
    return {name: value for name, value in info.items() if name in names or (card and name == "cardData")}


async def info(request: Request) -> Response:
    asked = Asked(request)
    repo = asked.repo()
    told = described(repo, asked.commit(repo), blobs=asked.flag("blobs"))
    expand = request.query_params.getlist("expand")
    return JSONResponse(_chosen(told, expand, full=True, card=True) if expand else told)


def described(repo: Repo, commit: Commit, blobs: bool = False) -> dict[str, Any]:
    """Everything the Hub tells about a repository at a commit."""
    settings, paths = repo.read(), list(commit.files)
    card = front_matter(repo.content(commit.oid, "README.md"))
    namespace = repo.repo_id.split("/")[0]
    told = {
        "_id": git_oid(repo.repo_id.encode())[:24],
        "id": repo.repo_id,
        "author": namespace,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": settings["created_at"],
        "private": settings["private"],
        "gated": settings["gated"],
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags_of(card, paths),
        "cardData": card,
        "pipeline_tag": card.get("pipeline_tag"),
        "siblings": [_sibling(path, entry, blobs) for path, entry in commit.files.items()],
        "usedStorage": sum(entry.size for entry in commit.files.values()),
    }
    if repo.kind == "model":
        told |= {"modelId": repo.repo_id, "library_name": card.get("library_name"), "config": _config(repo, commit), "spaces": []}
        told |= {"safetensors": _parameters(repo, commit)} if any(path.endswith(".safetensors") for path in paths) else {}
    if repo.kind == "space":
        told |= {
            "sdk": settings["sdk"] or card.get("sdk"),
            "runtime": runtime(repo),
        }
    return told


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    large = (
        {"lfs": {"sha256": entry.sha256, "size": entry.size, "pointerSize": len(pointer(entry.sha256, entry.size))}} if entry.sha256 else {}
    )
    return {"rfilename": path, "size": entry.size, "blobId": entry.oid, **large}


def _config(repo: Repo, commit: Commit) -> dict[str, Any]:
    held = json.loads(repo.content(commit.oid, "config.json") or b"{}")
    return {name: held[name] for name in ("architectures", "model_type") if name in held}


def _parameters(repo: Repo, commit: Commit) -> dict[str, Any]:
    """Counted per precision from the headers of the safetensors files at the root."""
    counts: dict[str, int] = {}
    for path, entry in commit.files.items():
        if "/" not in path and path.endswith(".safetensors"):
            for name, tensor in _header(repo.storage.path_of(entry)).items():
                if name != "__metadata__":
                    counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
    return {"parameters": counts, "total": sum(counts.values())}


def _header(path: Path) -> dict[str, Any]:
    """The JSON at the head of a safetensors file; nothing for a file that is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            return json.loads(file.read(length)) if length < path.stat().st_size else {}
        except ValueError:
            return {}


async def tree(request: Request) -> Response:
    """Files and folders below a path; all of them, or the next level only."""
    asked = Asked(request)
    commit, below = asked.commit(asked.repo()), asked.part("path").strip("/")
    prefix = f"{below}/" if below else ""
    if prefix and not any(path.startswith(prefix) for path in commit.files):
        raise entry_not_found(commit)
    rows = [
        row
        for row in _rows(commit, asked.flag("expand"))
        if row["path"].startswith(prefix) and (asked.flag("recursive") or "/" not in row["path"][len(prefix) :])
    ]
    return paged(asked, rows, asked.hub.page_size)


async def paths_info(request: Request) -> Response:
    """The named ones; those that do not exist are left out."""
    asked = Asked(request)
    commit = asked.commit(asked.repo())
    form = await asked.form()
    wanted, expand = form.get("paths", []), form.get("expand", ["false"])[0].lower() == "true"
    return JSONResponse([row for row in _rows(commit, expand) if row["path"] in wanted])


def _rows(commit: Commit, expand: bool) -> Iterator[dict[str, Any]]:
    last = {"lastCommit": {"id": commit.oid, "title": commit.title, "date": commit.date}} if expand else {}
    folders: dict[str, None] = {}
    for path in commit.files:
        parts = path.split("/")[:-1]
        folders.update(dict.fromkeys("/".join(parts[: n + 1]) for n in range(len(parts))))
    for folder in folders:
        yield {"type": "directory", "oid": git_oid(f"{commit.oid}{folder}".encode()), "size": 0, "path": folder, **last}
    for path, entry in commit.files.items():
        large = (
            {"lfs": {"oid": entry.sha256, "size": entry.size, "pointerSize": len(pointer(entry.sha256, entry.size))}}
            if entry.sha256
            else {}
        )
        xet = {"xetHash": entry.xet} if entry.xet else {}
        yield {"type": "file", "oid": entry.oid, "size": entry.size, "path": path, **large, **xet, **last}


async def commits(request: Request) -> Response:
    asked = Asked(request)
    history = asked.repo().history(asked.commit(asked.repo()).oid)
    rows = [
        {"id": one.oid, "title": one.title, "message": one.message, "authors": [{"user": one.author}], "date": one.date} for one in history
    ]
    return paged(asked, rows, asked.hub.page_size)


ROUTES: list[BaseRoute] = [
    Route("/api/{kinds}", listing),
    Route(REPO, info),
    Route(REPO + "/revision/{revision}", info),
    Route(REPO + "/tree/{revision}", tree),
    Route(REPO + "/tree/{revision}/{path:path}", tree),
    Route(REPO + "/paths-info/{revision}", paths_info, methods=["POST"]),
    Route(REPO + "/commits/{revision}", commits),
]
