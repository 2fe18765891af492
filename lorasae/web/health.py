"""Whether the lab lives, and whether it can do its work."""

from fastapi import FastAPI

from lorasae.lab import Lab
from lorasae.web.answers import Answer


def add_health_routes(app: FastAPI, lab: Lab) -> None:
    """`/healthz`: the event loop answers. `/readyz`: the store can be written and the queue is kept."""

    @app.get("/healthz")
    async def healthz() -> Answer:
        return Answer({"ok": True})

    @app.get("/readyz")
    def readyz() -> Answer:
        problems = lab.problems()
        told = problems if lab.settings.access == "local" else []  # strangers need not know this machine's paths
        return Answer({"ok": not problems, "problems": told}, status_code=503 if problems else 200)
