"""Models and SAEs of runs that were opened from the Hub, fetched in the background: such a run brings its adapter alone.

What is under way is kept in the app's memory; opening the adapter again takes up what an ended app had begun.
"""

import sys
import threading
import traceback

from lorasae.errors import LabError
from lorasae.planning.errand import Errands
from lorasae.sources.hub_access import HubToken
from lorasae.sources.still_to_fetch import still_to_fetch
from lorasae.store.run_folder import Run

LIMIT_S = 6 * 3600  # tens of gigabytes on a slow line


class StillFetching(LabError):
    """What a run is made of is on its way; the same question works later. The web floor answers 503."""


class PartsDesk:
    """One per app."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._missing: dict[str, tuple[type[LabError], str, str]] = {}  # by run: why it cannot be opened yet
        self._turns = threading.Lock()  # one at a time: each has the whole line, and what one fetches the next may need

    def begin(self, run: Run, token: HubToken, most_bytes: int | None) -> None:
        """Fetch what is not here; nothing happens if all is, or if it is under way.

        Args:
            run: A run that was opened from the Hub.
            token: As whom the Hub is asked; it is let go when this is done.
            most_bytes: That one repository may bring; None: as many as the disk takes.
        """
        missing = still_to_fetch(run.config)
        with self._lock:
            if not missing:
                self._missing.pop(run.run_id, None)
                return
            if self._missing.get(run.run_id, (None,))[0] is StillFetching:
                return
            found = f"What it is made of is being fetched from the Hub: {', '.join(missing)}"
            self._missing[run.run_id] = (StillFetching, found, "Try again in a few minutes")
        threading.Thread(target=self._fetch, args=(run, token, most_bytes), name="parts", daemon=True).start()

    def refuse_unready(self, run: Run) -> None:
        """Refuse to look inside a run whose model or SAEs are not here.

        Raises:
            StillFetching: While they are on their way.
            LabError: If they could not be had.
        """
        with self._lock:
            problem = self._missing.get(run.run_id)
        if problem:
            kind, found, remedy = problem
            raise kind(_asked(run), found, remedy)

    def _fetch(self, run: Run, token: HubToken, most_bytes: int | None) -> None:
        problem: tuple[type[LabError], str, str] | None = None
        try:
            with self._turns:
                wanted = {"run": str(run.folder), "most_bytes": most_bytes}
                Errands().run("lorasae.planning.run_parts", wanted, _asked(run), LIMIT_S, online=True, token=token)
        except LabError as error:
            problem = (LabError, error.found, f"{error.remedy}. Then open the adapter again, on the page Gallery")
        except Exception:  # noqa: BLE001  # whoever looks must not be told to wait for ever
            traceback.print_exc(file=sys.stderr)
            problem = (LabError, "Fetching what it is made of failed", "Open the adapter again, on the page Gallery")
        with self._lock:
            if problem is None:
                del self._missing[run.run_id]
            else:
                self._missing[run.run_id] = problem


def _asked(run: Run) -> str:
    return f"The run {run.run_id} was to be inspected"
