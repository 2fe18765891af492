"""Publishing over HTTP, and the way back: whether a run can be published, what would be, doing it; and opening what others published."""

import base64
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request
from huggingface_hub import HfApi, get_token
from pydantic import AfterValidator, BaseModel, ConfigDict, StrictBool, StringConstraints

from lorasae.errors import LabError
from lorasae.lab import Lab
from lorasae.planning.hub_permission import refuse_closed
from lorasae.publishing.publication import publication
from lorasae.publishing.publish import preview, published
from lorasae.publishing.push import Target
from lorasae.publishing.reopen import reopen
from lorasae.sources.hub_access import way_in
from lorasae.sources.hub_names import NO_NAME, REPO_ID, is_repo_id
from lorasae.store.run_folder import Run
from lorasae.web.access import Acted, HubClient, Looked, Owner, Starter, may_act
from lorasae.web.answers import Answer
from lorasae.web.logins import login_of


def _named(name: str) -> str:
    if not is_repo_id(name):
        raise ValueError(NO_NAME)
    return name


RepoId = Annotated[str, StringConstraints(strict=True), AfterValidator(_named)]
_CARD_CHARACTERS = 60_000


class Named(BaseModel):
    """Where a run would lie."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    repo_id: RepoId


class Publish(Named):
    """Where it is to lie, and how."""

    private: StrictBool
    pull_request: StrictBool = False


def add_publish_routes(app: FastAPI, lab: Lab) -> None:
    """`/lab/runs/{id}/publishing…`, `/lab/open`."""

    @app.post("/lab/open")
    def opened(visitor: Starter, body: Named, hub: HubClient) -> Answer:
        run = reopen(lab.store, body.repo_id, hub, visitor, permitted=lambda config: refuse_closed(config, visitor, hub.token))
        lab.parts.begin(run, hub.token, lab.jobs.limits.fetch_bound(visitor))
        return Answer({"run_id": run.run_id})

    @app.get("/lab/runs/{run_id}/publishing")
    def publishing(run: Looked, visitor: Owner, request: Request, hub: HubClient) -> Answer:
        if not may_act(run, visitor):
            return Answer({"why_not": "Only its owner can publish it", "latest": None, "published": None, "namespace": None})
        latest = lab.publishing.latest(run)
        login = login_of(lab.settings, request.cookies)
        told = {"why_not": why_not(run, hub), "published": published(run), "latest": asdict(latest) if latest else None}
        return Answer({**told, "namespace": login.name if login else None, "name_pattern": REPO_ID})

    @app.post("/lab/runs/{run_id}/publishing/preview")
    def previewed(run: Acted, body: Named) -> Answer:
        with tempfile.TemporaryDirectory(prefix="lorasae-preview-") as folder:
            names = preview(run, body.repo_id, Path(folder))
            files = [{"name": name, "n_bytes": (Path(folder) / name).stat().st_size} for name in names]
            card = (Path(folder) / "README.md").read_text(encoding="utf-8")[:_CARD_CHARACTERS]
            pictures = {name: _as_address(Path(folder) / name) for name in names if name.endswith(".png")}
        return Answer({"files": files, "card": card, "pictures": pictures})

    @app.post("/lab/runs/{run_id}/publishing")
    def begin(run: Acted, body: Publish, hub: HubClient) -> Answer:
        if reason := why_not(run, hub):
            raise LabError("A run was to be published", reason, "Then try again")
        target = Target(body.repo_id, private=body.private, as_pull_request=body.pull_request)
        return Answer({"latest": asdict(lab.publishing.begin(run, target, hub))})


def _as_address(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"


def why_not(run: Run, hub: HfApi) -> str | None:
    """Why a run cannot be published from this browser, as a sentence; None if it can."""
    if hub.token is False:
        return "Nobody can sign in to this lab; its runs are published by whoever runs it, from a terminal"
    try:
        publication(run)
    except LabError as problem:
        return f"{problem.found}. {problem.remedy}"
    if hub.token is None and not known_token():
        return f"No login to the Hub is known here. Start the lab with HF_TOKEN set, or in a terminal {way_in()}"
    return None


def known_token() -> bool:
    """Whether the machine's own user has a login to the Hub."""
    return bool(get_token())
