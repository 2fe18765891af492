"""Who may do what, asked in one place: a route about a run takes it as `Looked` or `Acted`; a test walks all routes to see that it does.

    @app.get("/lab/runs/{run_id}/log")
    def log(run: Looked) -> …

What a visitor may not look at does not exist for that visitor (404); what may be looked at but not touched is refused (403).
"""

from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Request
from huggingface_hub import HfApi

from lorasae.errors import LabError
from lorasae.identity import Access, Action, NotSignedIn, Refused, may, refuse_nobody
from lorasae.lab import Lab
from lorasae.store.run_folder import Run
from lorasae.web.logins import owner_of, token_of


class Unknown(LabError):
    """Something that is not there, or not for this visitor. Answered with 404."""


def owner(request: Request) -> str:
    """Who asks."""
    return owner_of(lab_of(request).settings, request.cookies)


Owner = Annotated[str, Depends(owner)]


def starter(request: Request, visitor: Owner) -> str:
    """Who asks, and may have the lab do work or keep something."""
    refuse_nobody("The lab was asked to work for you", visitor, lab_of(request).settings.access)
    return visitor


def hub_client(request: Request) -> HfApi:
    """The Hub's client of whoever asks: it lives as long as what was asked for. Whose token it holds is known here alone."""
    return HfApi(token=token_of(lab_of(request).settings, request.cookies))


def looked_at(request: Request, run_id: str) -> Run:
    """The run of the address, which the visitor may look at."""
    return _allowed(request, run_id, "look")


def acted_on(request: Request, run_id: str) -> Run:
    """The run of the address, which the visitor may change."""
    return _allowed(request, run_id, "act")


def lookers(run: Run, visitors: Iterable[str]) -> set[str]:
    """Those of the visitors who may look at the run as it is now."""
    about, read_only = run.about, run.read_only
    return {visitor for visitor in visitors if read_only or may(visitor, about.owner, about.shared, "look")}


def may_look(run: Run, visitor: str) -> bool:
    """Whether the visitor may look at the run."""
    return bool(lookers(run, [visitor]))


def may_act(run: Run, visitor: str) -> bool:
    """Whether the visitor may change the run; nobody may change the example."""
    return not run.read_only and may(visitor, run.about.owner, run.about.shared, "act")


def lab_of(request: Request) -> Lab:
    """The lab that the app was made for."""
    return request.app.state.lab


Starter = Annotated[str, Depends(starter)]
HubClient = Annotated[HfApi, Depends(hub_client)]
Looked = Annotated[Run, Depends(looked_at)]
Acted = Annotated[Run, Depends(acted_on)]


def _allowed(request: Request, run_id: str, action: Action) -> Run:
    visitor = owner(request)
    try:
        run = lab_of(request).store.open_id(run_id)
        visible = may_look(run, visitor)
    except LabError:
        visible = False
    if not visible:
        raise Unknown("A run was asked for", "There is none of that address that you can see", "Choose one on the page Runs")
    if action == "act" and not may_act(run, visitor):
        raise _refused(run, visitor, lab_of(request).settings.access)
    return run


def _refused(run: Run, visitor: str, access: Access) -> LabError:
    asked = "This run was to be changed"
    if run.read_only:
        return Refused(asked, "It is the example that comes with the lab", "Start your own run with its settings, on the page Adapt")
    try:
        refuse_nobody(asked, visitor, access)
    except NotSignedIn as problem:
        return problem
    return Refused(asked, "It belongs to somebody else", "Start your own run with its settings, on the page Adapt")
