"""The web app of the lab, without its pages: every route that is not Gradio's."""

from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from lorasae.lab import Lab
from lorasae.settings import LabSettings
from lorasae.store.metrics_file import MetricsFiles
from lorasae.web.adapt_routes import add_adapt_routes
from lorasae.web.assets import add_asset_routes
from lorasae.web.catalog_routes import add_catalog_routes
from lorasae.web.downloads import add_download_routes
from lorasae.web.first_repair_routes import add_first_repair_route
from lorasae.web.gallery_routes import add_gallery_routes
from lorasae.web.guard import Guard
from lorasae.web.health import add_health_routes
from lorasae.web.inspect_routes import add_inspect_routes
from lorasae.web.live import Live, add_live_route
from lorasae.web.notices import add_notices_route
from lorasae.web.problems import answer_problems
from lorasae.web.publish_routes import add_publish_routes
from lorasae.web.run_routes import add_run_routes
from lorasae.web.sign_in_routes import add_sign_in_routes


@dataclass(frozen=True)
class WebApp:
    """The app, and its streams, which whoever serves it ends before it stops."""

    app: FastAPI
    live: Live


def web_app(lab: Lab) -> WebApp:
    """The routes of the lab; the pages are mounted into it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.lab = lab
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)  # leaves event streams alone
    app.add_middleware(CORSMiddleware, allow_origins=())  # no other site reads anything; Gradio, seeing this, adds no rule of its own
    answer_problems(app)
    files = MetricsFiles()
    add_health_routes(app, lab)
    add_asset_routes(app)
    add_run_routes(app, lab, files)
    add_download_routes(app)
    add_adapt_routes(app, lab)
    add_catalog_routes(app)
    add_first_repair_route(app, lab)
    add_inspect_routes(app, lab)
    add_publish_routes(app, lab)
    add_sign_in_routes(app, lab)
    add_notices_route(app, lab)
    add_gallery_routes(app, lab)
    return WebApp(app, add_live_route(app, lab, files))


def guarded(app: ASGIApp, settings: LabSettings, pages: Iterable[str]) -> ASGIApp:
    """The app as it is served, with pages at these addresses."""
    return Guard(app, settings, pages)
