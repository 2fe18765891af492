"""Scripts, styles and pictures of the lab, and plotly.js from the installed package: nothing is fetched from elsewhere."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

WEB_ASSETS = Path(__file__).resolve().parents[2] / "assets" / "web"


def add_asset_routes(app: FastAPI) -> None:
    """`/lab/assets/…`."""

    @app.get("/lab/assets/plotly.min.js")
    def plotly() -> FileResponse:
        return FileResponse(_plotly_js(), headers={"cache-control": "public, max-age=86400"})

    app.mount("/lab/assets", StaticFiles(directory=WEB_ASSETS))


def _plotly_js() -> Path:
    spec = find_spec("plotly")
    assert spec is not None and spec.origin is not None  # a requirement of the package
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
