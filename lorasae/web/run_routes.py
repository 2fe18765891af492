"""The runs over HTTP: what there is, what each one is doing, its charts and log, and what its owner does with it."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from lorasae.lab import Lab
from lorasae.metrics import METRICS
from lorasae.redaction import redacted
from lorasae.store.charts import as_json
from lorasae.store.metrics_file import MetricsFiles, rows_in
from lorasae.store.run_folder import Run
from lorasae.store.run_records import MAX_NAME, MAX_PINNED_FEATURES, MAX_PINNED_TEXT, pins_from, pins_to_json
from lorasae.web.access import Acted, HubClient, Looked, Owner
from lorasae.web.answers import Answer
from lorasae.web.cards import Cards
from lorasae.web.glances import Glances
from lorasae.web.summaries import status_of, summary

_MOST_LOG_BYTES = 200_000
Step = Annotated[float | None, Query(allow_inf_nan=False)]


class _Body(BaseModel):
    """What is posted: exactly the fields named, of exactly these types."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Rename(_Body):
    """A name for a run."""

    name: StrictStr = Field(max_length=MAX_NAME)


class Share(_Body):
    """Whether everybody with the link may look."""

    shared: StrictBool


class Delete(_Body):
    """Off the list; with files, off the disk."""

    with_files: StrictBool


class PinnedFeature(_Body):
    """One feature to record."""

    release: StrictStr = Field(min_length=1, max_length=300)
    sae_id: StrictStr = Field(max_length=300)
    feature: int = Field(ge=0, strict=True)


class Pin(_Body):
    """Features to record at every evaluation, and on which text."""

    text: StrictStr = Field(min_length=1, max_length=MAX_PINNED_TEXT)
    features: list[PinnedFeature] = Field(max_length=MAX_PINNED_FEATURES)


def add_run_routes(app: FastAPI, lab: Lab, files: MetricsFiles) -> None:
    """`/lab/metrics` and `/lab/runs…`, but for the live stream and the downloads."""
    glances = Glances(files)
    _add_reading(app, lab, files, glances)
    _add_acting(app, lab)


def _add_reading(app: FastAPI, lab: Lab, files: MetricsFiles, glances: Glances) -> None:
    cards = Cards(lab, glances)

    @app.get("/lab/metrics")
    def metrics() -> Answer:
        return Answer({"metrics": {key: asdict(metric) for key, metric in METRICS.items()}})

    @app.get("/lab/runs")
    def runs(visitor: Owner) -> Answer:
        return Answer({"runs": list(cards.of_visitor(visitor)), "example": cards.example(visitor)})

    @app.get("/lab/runs/{run_id}")
    def run_summary(run: Looked, visitor: Owner) -> Answer:
        return Answer(summary(lab, run, visitor, glances.of(run.metrics_file)))

    @app.get("/lab/runs/{run_id}/series")
    def series(
        run: Looked,
        first: Annotated[Step, Query(alias="from")] = None,
        last: Annotated[Step, Query(alias="to")] = None,
        points: Annotated[int, Query(ge=4, le=20_000)] = 1500,
    ) -> Answer:
        between = (float("-inf") if first is None else first, float("inf") if last is None else last)
        return Answer({"series": files.of(run.metrics_file).read(lambda columns, place: as_json(columns.window(points, *between)))})

    @app.get("/lab/runs/{run_id}/log")
    def log(run: Looked, tail: Annotated[int, Query(ge=1, le=_MOST_LOG_BYTES)] = 20_000) -> Answer:
        return Answer(_end_of_log(run, tail))

    @app.get("/lab/runs/{run_id}/replay")
    def replay(run: Looked) -> Answer:
        return Answer(_film(run))


def _add_acting(app: FastAPI, lab: Lab) -> None:
    def did(run: Run, **more: Any) -> Answer:
        return Answer({"ok": True, "run_id": run.run_id, **status_of(lab, run), **more})

    @app.post("/lab/runs/{run_id}/stop")
    def stop(run: Acted) -> Answer:
        lab.jobs.stop(run.run_id)
        return did(run)

    @app.post("/lab/runs/{run_id}/discard")
    def discard(run: Acted) -> Answer:
        lab.jobs.discard(run.run_id)
        return Answer({"ok": True, "run_id": run.run_id})

    @app.post("/lab/runs/{run_id}/resume")
    def resume(run: Acted, visitor: Owner, hub: HubClient) -> Answer:
        lab.jobs.resume(visitor, run.run_id, hub.token)
        return did(run)

    @app.post("/lab/runs/{run_id}/rename")
    def rename(run: Acted, body: Rename) -> Answer:
        lab.jobs.rename(run.run_id, body.name)
        return did(run, name=run.about.name)

    @app.post("/lab/runs/{run_id}/share")
    def share(run: Acted, body: Share) -> Answer:
        lab.jobs.share(run.run_id, body.shared)
        return did(run, shared=run.about.shared)

    @app.post("/lab/runs/{run_id}/delete")
    def delete(run: Acted, body: Delete) -> Answer:
        lab.jobs.delete(run.run_id, body.with_files)
        return Answer({"ok": True, "run_id": run.run_id})

    @app.post("/lab/runs/{run_id}/pins")
    def pin(run: Acted, body: Pin) -> Answer:
        run.write_pins(pins_from(body.model_dump()))
        return did(run, pins=pins_to_json(run.pins))


def _end_of_log(run: Run, tail: int) -> dict[str, Any]:
    """The last bytes of run.log, from the beginning of a line on."""
    try:
        with run.log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail))
            text = file.read(tail).decode(errors="replace")
    except FileNotFoundError:
        return {"text": "", "truncated": False}
    truncated = size > tail
    return {"text": redacted(text.split("\n", 1)[-1] if truncated else text), "truncated": truncated}


def _film(run: Run) -> dict[str, Any]:
    """The pinned features at every evaluation so far."""
    frames = [row for rows in rows_in(run.replay) for row in rows]
    return {"text": run.pins.text, "tokens": frames[0].get("tokens", []) if frames else [], "frames": frames}
