"""How files go out: plain ones at once, large ones by a redirect to a storage of another host, as at the real Hub."""

import json
import secrets

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tests.hub.asked import Asked, entry_not_found
from tests.hub.storage import Entry


async def resolve(request: Request) -> Response:
    """HEAD tells commit, hash and size; GET gives the bytes, or the way to them. Ranges are answered by the file response."""
    asked = Asked(request)
    repo = asked.readable()
    commit, path = asked.commit(repo), asked.part("path")
    entry = commit.files.get(path)
    if entry is None:
        raise entry_not_found(commit)
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{entry.etag}"', "Accept-Ranges": "bytes"}
    headers["Access-Control-Expose-Headers"] = "X-Repo-Commit,X-Linked-Size,X-Linked-ETag,ETag,Link,X-Xet-Hash"
    if entry.sha256 is None:
        return FileResponse(asked.storage.path_of(entry), media_type="text/plain; charset=utf-8", headers=headers)
    headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": headers["ETag"]} | _xet(asked, entry, commit.oid)
    signed = f"{asked.hub.storage_endpoint}/objects/{entry.sha256}?Signature={secrets.token_hex(8)}"
    return RedirectResponse(signed, 302, headers)


def _xet(asked: Asked, entry: Entry, oid: str) -> dict[str, str]:
    if entry.xet is None:
        return {}
    route = f"{asked.hub.endpoint}/api/{asked.kind}s/{asked.repo_id}/xet-read-token/{oid}"
    return {"X-Xet-Hash": entry.xet, "X-Xet-Refresh-Route": route, "Link": f'<{route}>; rel="xet-auth"'}


async def stored(request: Request) -> Response:
    """The storage behind the Hub: the signature in the address is the right to read."""
    asked = Asked(request)
    sha256 = asked.part("sha256")
    path = asked.storage.large_path(sha256)
    if not path.is_file() or "Signature" not in request.query_params:
        return Response(json.dumps({"error": "AccessDenied"}), 403)
    return FileResponse(path, media_type="application/octet-stream", headers={"ETag": f'"{sha256}"'})


_RESOLVE = "/{namespace}/{name}/resolve/{revision}/{path:path}"
ROUTES: list[BaseRoute] = [
    Route("/objects/{sha256}", stored),
    Route("/{kinds}" + _RESOLVE, resolve),
    Route(_RESOLVE, resolve),
]
