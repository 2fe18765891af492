"""Whether the lab lives, and whether it can do its work."""

from fastapi import FastAPI
from starlette.responses import JSONResponse

from lorasae.lab import Lab


def add_health_routes(app: FastAPI, lab: Lab) -> None:
    """`/healthz`: the event loop answers. `/readyz`: the store can be written and the queue is kept."""

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"ok": True})

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        problems = lab.problems()
        return JSONResponse({"ok": not problems, "problems": problems}, status_code=503 if problems else 200)
