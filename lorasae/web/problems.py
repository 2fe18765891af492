"""How a problem is answered: as `{"problem": "a sentence"}`. What is no LabError is a bug of ours: told without detail, logged with it."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from lorasae.errors import Busy, LabError
from lorasae.identity import NotSignedIn, Refused
from lorasae.lab import Lab
from lorasae.planning.parts_desk import StillFetching
from lorasae.web.access import Unknown, lab_of
from lorasae.web.answers import Answer

FAILED = "The lab failed at this. It is not your fault; its log says more. Try again, or go on elsewhere."
_PLAIN = {404: "There is nothing at this address. Go back to the lab's first page.", 405: "This address is asked in another way."}


def problem(sentence: str, status: int) -> Answer:
    """The answer to a request that cannot be met."""
    return Answer({"problem": sentence}, status)


def answer_problems(app: FastAPI) -> None:
    """Have every problem of the lab's own routes answered in one form."""

    @app.exception_handler(LabError)
    async def told(request: Request, error: LabError) -> Response:
        return problem(_for_strangers(str(error), lab_of(request)), _status(request, error))

    @app.exception_handler(RequestValidationError)
    async def mistaken(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return problem(
            str(LabError(f"{where} was given", str(first["msg"]).removeprefix("Value error, "), "Correct it and try again")), 400
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        return problem(_PLAIN.get(error.status_code, str(error.detail)), error.status_code)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        logging.getLogger("uvicorn.error").debug("answered with 500", exc_info=error)  # the server logs the traceback itself
        return problem(FAILED, 500)


def _for_strangers(sentence: str, lab: Lab) -> str:
    """The sentence without the path of the lab's home, which is nobody else's business."""
    return (
        sentence
        if lab.settings.access == "local"
        else sentence.replace(str(lab.settings.home.resolve()), "…").replace(str(lab.settings.home), "…")
    )


def _status(request: Request, error: LabError) -> int:
    """A problem with what a run is doing right now is a conflict; any other is a mistake in the request."""
    if isinstance(error, Unknown):
        return 404
    if isinstance(error, NotSignedIn):
        return 401
    if isinstance(error, Refused):
        return 403
    if isinstance(error, (Busy, StillFetching)):
        return 503
    return 409 if request.method == "POST" and "run_id" in request.path_params else 400
