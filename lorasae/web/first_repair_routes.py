"""One button's route: start the pocket adaptation, or find the one that is already under way."""

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, StringConstraints

from lorasae.demo.first_repair import NAME, PINS, first_repair
from lorasae.lab import Lab
from lorasae.store.run_folder import Run
from lorasae.web.access import Starter
from lorasae.web.answers import Answer


class Start(BaseModel):
    """A click. The page makes the token; a click that comes twice carries the same one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    submission: Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-zA-Z-]{16,64}$")]


def add_first_repair_route(app: FastAPI, lab: Lab) -> None:
    """`/lab/start-pocket`."""

    @app.post("/lab/start-pocket")
    def start(body: Start, visitor: Starter) -> Answer:
        if (run := _under_way(lab, visitor)) is not None:
            return Answer({"ok": True, "run_id": run.run_id, "started": False})
        run = lab.jobs.submit(visitor, first_repair(), body.submission, NAME, PINS)
        return Answer({"ok": True, "run_id": run.run_id, "started": True})


def _under_way(lab: Lab, visitor: str) -> Run | None:
    """The visitor's first repair that is waiting or at work: two windows need not start two."""
    runs = (lab.store.open_id(row.run_id) for row in lab.jobs.runs_of(visitor) if row.job)
    return next((run for run in runs if run.config == first_repair()), None)
