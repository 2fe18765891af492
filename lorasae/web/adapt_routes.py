"""What the Adapt page asks beside its form: the catalog, estimates and measurements, a preview of a text, uploads."""

from typing import Annotated, Any

from fastapi import Body, FastAPI, Request

from lorasae.config import RunConfig, run_config
from lorasae.identity import NOBODY
from lorasae.lab import Lab
from lorasae.planning.errand import Errands
from lorasae.planning.fitting import refuse_misfits
from lorasae.planning.forecast import forecast, measured_forecast, why_not_measured
from lorasae.planning.hub_permission import refuse_closed
from lorasae.planning.probing import Probing
from lorasae.planning.uploads import MAX_BYTES, keep, refuse_foreign_files
from lorasae.sources.catalog import hub_id, models, saes_of, site_of
from lorasae.sources.sae_card import SAECard
from lorasae.web.access import HubClient, Owner, Starter

PREVIEW_LIMIT_S = 90

Settings = Annotated[dict[str, Any], Body(embed=True)]  # {"config": …}


def add_adapt_routes(app: FastAPI, lab: Lab) -> None:
    """`/lab/catalog…`, `/lab/estimate…`, `/lab/preview`, `/lab/uploads`."""
    errands = Errands()
    probing = Probing(lab.settings.home, errands)

    @app.get("/lab/catalog")
    def catalog() -> dict[str, Any]:
        return {"models": [vars(offer) for offer in models()]}

    @app.get("/lab/catalog/saes")
    def saes(model: str) -> dict[str, Any]:
        return {"model": hub_id(model), "saes": [row_of(card) for card in saes_of(hub_id(model))]}

    @app.post("/lab/estimate")
    def estimate(visitor: Owner, config: Settings) -> dict[str, Any]:
        asked = checked(lab, config, visitor)
        return with_reason(forecast(asked, probing, visitor), asked, visitor, is_training(lab))

    @app.post("/lab/estimate/measure")
    def measure(visitor: Starter, config: Settings, hub: HubClient) -> dict[str, Any]:
        asked = checked(lab, config, visitor)
        refuse_closed(asked, visitor, hub.token)
        before = with_reason(forecast(asked, probing, visitor), asked, visitor, is_training(lab))
        if before["cannot_measure"]:
            return before
        if errands.busy:
            return {**before, "cannot_measure": "Another short measurement or preview is under way. Try again in a few seconds."}
        return with_reason(measured_forecast(asked, probing), asked, visitor, is_training(lab))

    @app.post("/lab/preview")
    def preview(visitor: Starter, config: Settings, hub: HubClient) -> dict[str, Any]:
        asked = checked(lab, config, visitor)
        refuse_closed(asked, visitor, hub.token)
        what = f"A preview of the text {asked.data.source} was asked for"
        return errands.run("lorasae.planning.preview", asked.model_dump(mode="json"), what, PREVIEW_LIMIT_S, online=True, token=hub.token)

    @app.post("/lab/uploads")
    async def upload(visitor: Starter, request: Request, name: str) -> dict[str, Any]:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MAX_BYTES:
                break
        kept = keep(lab.settings.home, visitor, name, bytes(content))
        return {**vars(kept), "path": str(kept.path)}


def checked(lab: Lab, values: dict[str, Any], visitor: str) -> RunConfig:
    """The config of a request, which the visitor may run and which can work.

    Raises:
        LabError: If not.
    """
    config = run_config(values)
    refuse_foreign_files(config, visitor, lab.settings.home)
    refuse_misfits(config)
    return config


def row_of(card: SAECard) -> dict[str, Any]:
    """An SAE of the catalog as JSON."""
    stated = {"layer": card.layer, "site": site_of(card), "d_sae": card.d_sae, "l0": card.l0, "fve": card.fve}
    return {"release": card.ref.release, "sae_id": card.ref.sae_id, "hook_point": card.hook_point, **stated}


def is_training(lab: Lab) -> bool:
    """Whether a run is at work on this machine."""
    return bool(lab.index.with_job("running"))


def with_reason(found: dict[str, Any], config: RunConfig, visitor: str, training: bool) -> dict[str, Any]:
    """A forecast, and why these settings cannot be measured now, as a sentence; None if they can."""
    fits = found["memory"]["verdict"] if found.get("memory") else ""
    stranger = "Measuring on this machine needs somebody whom the lab knows: sign in, or allow cookies." if visitor == NOBODY else None
    return {**found, "cannot_measure": found["unknown"] or stranger or why_not_measured(config, fits, training)}
