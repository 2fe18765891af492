"""How files come in: which go where, the large ones' upload, and the commit that makes them visible."""

import base64
import fnmatch
import hashlib
import json
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.hub import discussions
from tests.hub.asked import Asked, Refused, page_path
from tests.hub.repo_routes import REPO
from tests.hub.storage import Entry, Repo, is_large
from tests.hub.xet_store import fetch_from_xet


async def preupload(request: Request) -> Response:
    """Plain or large, ignored or not, and the hash of what is there already."""
    asked = Asked(request)
    repo, body = _open_for_commit(asked), await asked.json()
    held = asked.commit(repo).files
    ignored = [line.strip().rstrip("/") for line in body.get("gitIgnore", "").splitlines() if line.strip() and not line.startswith("#")]
    answers = []
    for file in body["files"]:
        path = file["path"]
        large = is_large(path, file["size"], base64.b64decode(file["sample"]))
        known = {"oid": held[path].etag} if path in held else {}
        skip = any(fnmatch.fnmatch(part, rule) for rule in ignored for part in (path, *path.split("/")))
        answers.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": skip, **known})
    return JSONResponse({"files": answers})


def _open_for_commit(asked: Asked) -> Repo:
    """The repository, if the sender may commit to it or, with `create_pr`, propose to."""
    repo = asked.repo()
    account = asked.signed_in()
    if asked.may_write(repo) or (asked.flag("create_pr") and account.opens_pull_requests()):
        return repo
    if account.opens_pull_requests() and _own_proposal(asked, repo):
        return repo
    raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")


def _own_proposal(asked: Asked, repo: Repo) -> bool:
    number = asked.part("revision").removeprefix("refs/pr/")
    return any(str(one["num"]) == number and one["author"] == asked.account.name for one in repo.read()["discussions"])


async def lfs_batch(request: Request) -> Response:
    """Where each large file that is not there yet is to be put: in one piece, or in parts."""
    asked = Asked(request)
    asked.repo()
    if not asked.signed_in().opens_pull_requests():
        raise Refused(403, "Authorization error.")
    body = await asked.json()
    in_parts = "multipart" in body.get("transfers", [])
    objects = [_upload_of(asked, one["oid"], one["size"], in_parts) for one in body["objects"]]
    return JSONResponse({"transfer": "multipart" if in_parts else "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")


def _upload_of(asked: Asked, sha256: str, size: int, in_parts: bool) -> dict[str, Any]:
    if asked.storage.large_path(sha256).is_file():
        return {"oid": sha256, "size": size}
    put = f"{asked.hub.storage_endpoint}/upload/{sha256}/{secrets.token_hex(8)}"
    verify = {"href": f"{asked.hub.endpoint}/api/lfs/{sha256}/verify"}
    if not in_parts or size <= asked.hub.part_bytes:
        return {"oid": sha256, "size": size, "authenticated": True, "actions": {"upload": {"href": put}, "verify": verify}}
    n_parts = -(-size // asked.hub.part_bytes)
    parts = {str(number): f"{put}?part={number}" for number in range(1, n_parts + 1)}
    upload = {"href": f"{asked.hub.endpoint}/api/lfs/{sha256}/complete", "header": {"chunk_size": str(asked.hub.part_bytes), **parts}}
    return {"oid": sha256, "size": size, "authenticated": True, "actions": {"upload": upload, "verify": verify}}


async def put(request: Request) -> Response:
    """The storage behind the Hub: takes bytes without asking who sends them."""
    asked = Asked(request)
    part = int(request.query_params.get("part", 0))
    content = await request.body()
    (asked.storage.root / "incoming" / f"{asked.part('sha256')}.{part:05d}").write_bytes(content)
    return Response(headers={"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'})


async def complete(request: Request) -> Response:
    """All parts are there."""
    asked = Asked(request)
    incoming = sorted((asked.storage.root / "incoming").glob(f"{asked.part('sha256')}.*"))
    if len(incoming) != len((await asked.json())["parts"]):
        raise Refused(400, "Some parts of the upload are missing")
    return JSONResponse({})


async def verify(request: Request) -> Response:
    """The upload counts from here on, if its bytes have the hash they were announced with."""
    asked = Asked(request)
    sha256 = asked.part("sha256")
    parts = sorted((asked.storage.root / "incoming").glob(f"{sha256}.*"))
    content = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Refused(422, "The uploaded content has another hash or size than announced")
    asked.storage.add_large(content)
    for part in parts:
        part.unlink()
    return JSONResponse({})


async def xet_token(request: Request) -> Response:
    """Where the Xet store is: on this disk. A write token for those who may commit, a read token for those who may read."""
    asked = Asked(request)
    if "/xet-write-token/" in request.url.path:
        _open_for_commit(asked)
    else:
        asked.readable()
    told = {"X-Xet-Cas-Url": asked.hub.xet_url, "X-Xet-Access-Token": "local", "X-Xet-Token-Expiration": str(int(time.time()) + 3600)}
    body = {"casUrl": told["X-Xet-Cas-Url"], "accessToken": "local", "exp": int(told["X-Xet-Token-Expiration"])}
    return JSONResponse(body, headers=told)


async def commit(request: Request) -> Response:
    """One line per change after the header; all of them, or none."""
    asked = Asked(request)
    repo = _open_for_commit(asked)
    header, *changes = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
    about, revision = header["value"], asked.part("revision")
    if not str(about.get("summary", "")).strip():
        raise Refused(400, "A commit summary is required")
    with asked.storage.lock:
        parent = asked.commit(repo)
        expected = about.get("parentCommit")
        proposal = None
        if asked.flag("create_pr"):
            parent = repo.at(repo.oid_of(expected) or parent.oid) if expected else parent
        elif expected and expected != parent.oid:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = _changed(asked, dict(parent.files), changes)
        if asked.flag("create_pr"):
            proposal = discussions.opened(repo, asked.account.name or "", about["summary"], about.get("description", ""), parent.oid)
            ref = f"refs/pr/{proposal['num']}"
        else:
            ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        if ref not in repo.read()["refs"]:
            raise Refused(400, f"Cannot commit to {revision}: it is not a branch")
        made = repo.commit(ref, files, about["summary"], message=about.get("description", ""), author=asked.account.name or "")
    page = f"{asked.hub.endpoint}/{page_path(repo)}"
    told = {"success": True, "commitOid": made.oid, "commitUrl": f"{page}/commit/{made.oid}", "hookOutput": ""}
    return JSONResponse({**told, "pullRequestUrl": f"{page}/discussions/{proposal['num']}"} if proposal else told)


def _changed(asked: Asked, files: dict[str, Entry], changes: list[dict[str, Any]]) -> dict[str, Entry]:
    for change in changes:
        key, value = change["key"], change["value"]
        path = value["path"]
        if key == "file":
            files[path] = asked.storage.add_plain(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            files[path] = _large(asked, value["oid"])
        elif key == "deletedFile":
            if path not in files:
                raise Refused(404, f"Entry not found: {path}", "EntryNotFound")
            del files[path]
        elif key == "deletedFolder":
            files = {name: entry for name, entry in files.items() if not name.startswith(path.rstrip("/") + "/")}
        else:
            raise Refused(400, f"Unknown operation: {key}")
    return files


def _large(asked: Asked, sha256: str) -> Entry:
    """A large file that was uploaded before, either way."""
    xet = fetch_from_xet(asked.hub.xet_root, asked.storage, sha256)
    path = asked.storage.large_path(sha256)
    if not path.is_file():
        raise Refused(400, f"LFS pointer pointed to a file that does not exist: {sha256}")
    return asked.storage.large_entry(sha256, path.stat().st_size, xet)


_BATCH = "/{namespace}/{name}.git/info/lfs/objects/batch"
ROUTES: list[BaseRoute] = [
    Route(REPO + "/preupload/{revision}", preupload, methods=["POST"]),
    Route(REPO + "/commit/{revision}", commit, methods=["POST"]),
    Route(REPO + "/xet-write-token/{revision}", xet_token),
    Route(REPO + "/xet-read-token/{revision}", xet_token),
    Route("/{kinds}" + _BATCH, lfs_batch, methods=["POST"]),
    Route(_BATCH, lfs_batch, methods=["POST"]),
    Route("/upload/{sha256}/{secret}", put, methods=["PUT"]),
    Route("/api/lfs/{sha256}/complete", complete, methods=["POST"]),
    Route("/api/lfs/{sha256}/verify", verify, methods=["POST"]),
]
