"""Accounts and repositories: who am I, create, delete, settings, gates, branches and tags."""

from typing import Any

from huggingface_hub import SpaceHardware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.hub.asked import Asked, Refused, valid
from tests.hub.front_matter import complaints
from tests.hub.storage import REPO_TYPES, Repo


async def whoami(request: Request) -> Response:
    return JSONResponse(Asked(request).signed_in().as_whoami())


async def create(request: Request) -> Response:
    asked = Asked(request)
    body, account = await asked.json(), asked.signed_in()
    kind, namespace = body.get("type") or "model", body.get("organization") or account.name or ""
    repo_id = f"{namespace}/{body['name']}"
    if kind not in REPO_TYPES or not valid(repo_id):
        raise Refused(400, f"Invalid repo name: {repo_id} - repo name includes an illegal character")
    if not account.creates_in(namespace):
        raise Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
    if kind == "space" and not body.get("sdk"):
        raise Refused(400, "Invalid sdk: a Space needs one of gradio, docker, static")
    private = body.get("visibility") == "private" or bool(body.get("private"))
    url = f"{asked.hub.endpoint}/{repo_id if kind == 'model' else f'{kind}s/{repo_id}'}"
    with asked.storage.lock:
        if asked.storage.repo(kind, repo_id):
            raise Refused(409, f"You already created this {kind} repo: {repo_id}", body={"url": url})
        asked.storage.create(kind, repo_id, author=account.name or "", private=private, sdk=body.get("sdk"), by_app=account.is_app)
    return JSONResponse({"url": url, "name": repo_id, "id": repo_id})


async def delete(request: Request) -> Response:
    asked = Asked(request)
    body = await asked.json()
    namespace = body.get("organization") or asked.signed_in().name or ""
    asked.request.path_params.update(kinds=(body.get("type") or "model") + "s", namespace=namespace, name=body["name"])
    repo = asked.repo()
    if not asked.account.removes_in(namespace):
        raise Refused(403, f'You don\'t have the rights to delete a {repo.kind} under the namespace "{namespace}"')
    repo.delete()
    return Response("OK")


async def settings(request: Request) -> Response:
    asked = Asked(request)
    repo, body = asked.writable(), await asked.json()
    if "visibility" in body:
        body["private"] = body["visibility"] == "private"
    repo.change(**{name: body[name] for name in ("private", "gated") if name in body})
    return JSONResponse({"private": repo.read()["private"]})


async def hardware(request: Request) -> Response:
    """Ask for another machine for a Space."""
    asked = Asked(request)
    repo, flavor = asked.writable(), (await asked.json())["flavor"]
    if repo.kind != "space" or flavor not in {each.value for each in SpaceHardware}:
        raise Refused(400, f"Invalid hardware flavor: {flavor}")
    repo.change(hardware=flavor)
    return JSONResponse(runtime(repo))


def runtime(repo: Repo) -> dict[str, Any]:
    """What a Space is doing: here nothing is ever started."""
    return {"stage": "NO_APP_FILE", "hardware": {"current": None, "requested": repo.read().get("hardware")}}


async def auth_check(request: Request) -> Response:
    asked = Asked(request)
    if request.url.path.endswith("/write"):
        asked.writable()
    else:
        asked.readable()
    return JSONResponse({})


async def grant(request: Request) -> Response:
    """Let a user through a gate."""
    asked = Asked(request)
    repo, user = asked.writable(), (await asked.json())["user"]
    held = repo.read()
    if not asked.hub.accounts.exists(user):
        raise Refused(404, "User not found")
    if not held["gated"] or user in held["accepted"]:
        raise Refused(400, "Repository is not gated" if not held["gated"] else "User already has access")
    repo.change(accepted=[*held["accepted"], user])
    return JSONResponse({})


async def validate_yaml(request: Request) -> Response:
    """The card's front matter, judged before anything is uploaded."""
    asked = Asked(request)
    errors, warnings = complaints((await asked.json())["content"])
    status = 400 if errors else 200
    return JSONResponse({"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}, status)


async def refs(request: Request) -> Response:
    asked = Asked(request)
    found = asked.repo().read()["refs"]

    def those(prefix: str) -> list[dict[str, str]]:
        return [{"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid} for ref, oid in found.items() if ref.startswith(prefix)]

    pull_requests = {"pullRequests": those("refs/pr/")} if asked.flag("include_prs") else {}
    return JSONResponse({"branches": those("refs/heads/"), "converts": [], "tags": those("refs/tags/"), **pull_requests})


async def create_ref(request: Request) -> Response:
    """A branch at `startingPoint`, or a tag at the path's revision."""
    asked = Asked(request)
    repo, body = asked.writable(), await asked.json()
    branch = asked.part("branch")
    name = branch or body["tag"]
    ref = f"refs/heads/{name}" if branch else f"refs/tags/{name}"
    point = body.get("startingPoint", "main") if branch else asked.part("revision")
    oid = repo.oid_of(point)
    if name.startswith("refs/"):
        raise Refused(400, f"Invalid reference name: {name}")
    if oid is None:
        raise Refused(404, f"Invalid rev id: {point}", "RevisionNotFound")
    if ref in repo.read()["refs"]:
        raise Refused(409, f"Reference already exists: {ref}")
    repo.set_ref(ref, oid)
    return JSONResponse({})


async def delete_ref(request: Request) -> Response:
    asked = Asked(request)
    repo, branch = asked.writable(), asked.part("branch")
    ref = f"refs/heads/{branch}" if branch else f"refs/tags/{asked.part('tag')}"
    if branch == "main":
        raise Refused(403, "Cannot delete default branch")
    if ref not in repo.read()["refs"]:
        raise Refused(404, f"Reference not found: {ref}", "RevisionNotFound")
    repo.set_ref(ref, None)
    return JSONResponse({})


REPO = "/api/{kinds}/{namespace}/{name}"
ROUTES: list[BaseRoute] = [
    Route("/api/whoami-v2", whoami),
    Route("/api/repos/create", create, methods=["POST"]),
    Route("/api/repos/delete", delete, methods=["DELETE"]),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
    Route(REPO + "/settings", settings, methods=["PUT"]),
    Route(REPO + "/hardware", hardware, methods=["POST"]),
    Route(REPO + "/auth-check", auth_check),
    Route(REPO + "/auth-check/write", auth_check),
    Route(REPO + "/user-access-request/grant", grant, methods=["POST"]),
    Route(REPO + "/refs", refs),
    Route(REPO + "/branch/{branch}", create_ref, methods=["POST"]),
    Route(REPO + "/branch/{branch}", delete_ref, methods=["DELETE"]),
    Route(REPO + "/tag/{revision}", create_ref, methods=["POST"]),
    Route(REPO + "/tag/{tag}", delete_ref, methods=["DELETE"]),
]
