"""The web app of the lab, without its pages: every route that is not Gradio's."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from lorasae.lab import Lab
from lorasae.settings import LabSettings
from lorasae.web.assets import add_asset_routes
from lorasae.web.guard import Guard
from lorasae.web.health import add_health_routes


def web_app(lab: Lab) -> FastAPI:
    """The routes of the lab; the pages are mounted into it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_health_routes(app, lab)
    add_asset_routes(app)
    return app


def guarded(app: ASGIApp, settings: LabSettings) -> ASGIApp:
    """The app as it is served."""
    return Guard(app, settings)
