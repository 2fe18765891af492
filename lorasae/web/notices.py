"""What every visitor should know about this lab before starting anything, on every page: that it forgets, or what it cannot do."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from fastapi import FastAPI

from lorasae.lab import Lab
from lorasae.settings import LabSettings
from lorasae.web.answers import Answer

_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Notice:
    """A sentence or two, and where whoever runs the lab finds what to do about it."""

    key: str
    text: str
    link_text: str = ""
    link: str = ""


def may_have_notices(settings: LabSettings) -> bool:
    """Whether a page of such a lab needs to ask."""
    return bool(settings.space or settings.zero_gpu or settings.keep)


def notices(lab: Lab) -> Iterator[Notice]:
    """Those that hold now."""
    settings = lab.settings
    if settings.zero_gpu:
        text = (
            "This Space runs on ZeroGPU. Finished runs can be looked at here, on the processor and so more slowly. "
            "No run can be started: a GPU is lent for about a minute at a time."
        )
        yield Notice("zero-gpu", text, "How to run the lab with a GPU of your own", _documented(settings, "zerogpu"))
    elif settings.space and (settings.keep is None or settings.keep.is_doubtful):
        text = "Runs are lost when this Space restarts. Download or publish what you want to keep."
        yield Notice("no-bucket", text, "If this is your Space: connect a bucket", _documented(settings, "storage"))
    if lab.keeper is not None and (problems := lab.keeper.problems()):
        if settings.access == "local":
            yield Notice("not-kept", " ".join(problems))
        else:  # strangers need not know this machine's paths
            text = "What is done in this lab is not being saved at the moment, and is lost if it restarts. Download what you want to keep."
            yield Notice("not-kept", text, "If this is your Space: what to do", _documented(settings, "storage") if settings.space else "")


def add_notices_route(app: FastAPI, lab: Lab) -> None:
    """`/lab/notices`."""

    @app.get("/lab/notices")
    def all_notices() -> Answer:
        return Answer({"notices": [asdict(each) for each in notices(lab)]})


def _documented(settings: LabSettings, section: str) -> str:
    """The documentation as it lies in the Space itself."""
    return f"{_HUB}/spaces/{settings.space}/blob/main/docs/space.md#{section}"
