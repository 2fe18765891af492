"""The lab as a whole: its settings, its runs, its jobs and its inspector, opened together and closed together."""

from dataclasses import dataclass
from types import TracebackType

from lorasae.runs import RunStore
from lorasae.settings import LabSettings


@dataclass
class Lab:
    """What every page and every route is given."""

    settings: LabSettings
    store: RunStore

    def problems(self) -> list[str]:
        """What keeps the lab from doing its work, in sentences; empty when all is well."""
        return []

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def open_lab(settings: LabSettings) -> Lab:
    """Everything in place, nothing started.

    Raises:
        LabError: If the home cannot be written, or another copy of the app uses it.
    """
    return Lab(settings, RunStore(settings.home))
