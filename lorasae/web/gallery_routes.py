"""The gallery over HTTP: the list, what a repository holds, and the run that measures an adapter as it is."""

from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lorasae.config import RunConfig, SAERef, overlay, run_config
from lorasae.errors import LabError
from lorasae.identity import NOBODY
from lorasae.lab import Lab
from lorasae.planning.continuing import settings_to_continue
from lorasae.planning.hub_permission import refuse_closed
from lorasae.publishing.foreign import look, measuring_config
from lorasae.publishing.gallery import Gallery, known_here
from lorasae.publishing.reopen import reopen
from lorasae.sources.hub_adapters import listed
from lorasae.sources.peft_files import shape_of_files
from lorasae.store.run_folder import Run
from lorasae.store.started_from import Start, find_start
from lorasae.web.access import HubClient, Owner, Starter
from lorasae.web.answers import Answer
from lorasae.web.publish_routes import RepoId

_COMMIT = r"^[0-9a-f]{40}$"


class _SAE(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    release: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=300)]
    sae_id: Annotated[str, StringConstraints(strict=True, max_length=300)]


class Measure(BaseModel):
    """An adapter to be measured as it is; `saes` stays empty where it was published with its own."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    repo_id: RepoId
    commit: Annotated[str, StringConstraints(strict=True, pattern=_COMMIT)]
    saes: list[_SAE] = Field(default=[], max_length=4)
    submission: Annotated[str, StringConstraints(strict=True, min_length=8, max_length=100)]


def add_gallery_routes(app: FastAPI, lab: Lab) -> None:
    """`/lab/gallery…`."""
    gallery = Gallery()

    @app.get("/lab/gallery")
    def adapters(visitor: Owner, hub: HubClient) -> Answer:
        return Answer(asdict(gallery.listed(visitor, hub)))

    @app.get("/lab/gallery/here")
    def here(visitor: Owner) -> Answer:
        listed_now = {row.run_id for row in lab.jobs.runs_of(visitor)} if visitor != NOBODY else set()
        own = [run for run in lab.store.all() if run.run_id in listed_now]  # a folder that was removed by hand is in no list of ours
        return Answer({"here": [asdict(each) for each in known_here(own)], "may_open": visitor != NOBODY})

    @app.get("/lab/gallery/repository")
    def repository(visitor: Starter, hub: HubClient, repo_id: RepoId) -> Answer:
        return Answer(asdict(look(repo_id, None, visitor, lab.store, hub)))

    @app.post("/lab/gallery/measure")
    def measured(visitor: Starter, hub: HubClient, body: Measure) -> Answer:
        asked = f"The adapter {body.repo_id} was to be measured"
        if listed(asked, body.repo_id, body.commit, hub).kind == "lorasae":
            opened = reopen(lab.store, body.repo_id, hub, visitor, body.commit, lambda config: refuse_closed(config, visitor, hub.token))
            config = _as_published(asked, opened)
        else:
            start = f"{body.repo_id}@{body.commit}"
            saes = tuple(SAERef(release=each.release, sae_id=each.sae_id) for each in body.saes)
            config = measuring_config(start, find_start(start, visitor, lab.store, hub), saes)
        run = lab.jobs.submit(visitor, config, body.submission, config.name, hub_token=hub.token)
        return Answer({"run_id": run.run_id})


def _as_published(asked: str, opened: Run) -> RunConfig:
    """A run with the settings of a published one that trains nothing, and begins with its adapter."""
    if opened.config.data.source.startswith("your-text"):
        raise LabError(
            asked, "Its text was its author's own and is not published", "Measure it on another text: Continue, on its run's page"
        )
    settings = settings_to_continue(opened.run_id, Start(shape_of_files(asked, opened.adapter), run=opened))
    return run_config(overlay(settings, {"name": f"{opened.about.name} measured"[:120], "train": {"tokens": 0}}))
