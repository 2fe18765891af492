"""Publishing for people in a browser: one run at a time, in a thread of the app, with what it is doing to be read meanwhile.

An app that ends in the middle leaves nothing half done on the Hub: whoever publishes again finds what is there.
"""

import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi

from lorasae.errors import LabError
from lorasae.planning.errand import Errands
from lorasae.publishing.publish import publish
from lorasae.publishing.push import Target
from lorasae.store.run_folder import Run

CHECK_LIMIT_S = 1800


@dataclass(frozen=True)
class Publishing:
    """What became of a wish to publish."""

    run_id: str
    repo_id: str
    phase: str
    state: str = "under way"  # done, failed
    url: str = ""
    problem: str = ""
    note: str = ""  # beside the address: what is not as one would think


class PublishingDesk:
    """One per app."""

    def __init__(self) -> None:
        self._errands = Errands()
        self._one = threading.Lock()
        self._latest: dict[str, Publishing] = {}

    def latest(self, run: Run) -> Publishing | None:
        """What was last wished for a run since the app started."""
        return self._latest.get(run.run_id)

    def begin(self, run: Run, target: Target, api: HfApi) -> Publishing:
        """Publish in the background.

        Args:
            run: The run.
            target: Where to.
            api: A client with the token of whoever asked; it is let go when this is done.

        Raises:
            LabError: If another run is being published.
        """
        if not self._one.acquire(blocking=False):
            raise LabError(f"The run {run.run_id} was to be published", "Another one is being published", "Wait until that is done")
        begun = self._latest[run.run_id] = Publishing(run.run_id, target.repo_id, "beginning")
        threading.Thread(target=self._publish, args=(run, target, api), name="publishing", daemon=True).start()
        return begun

    def _publish(self, run: Run, target: Target, api: HfApi) -> None:
        def told(phase: str) -> None:
            self._latest[run.run_id] = Publishing(run.run_id, target.repo_id, phase)

        try:
            pushed = publish(run, target, api, self._measured_again, told)
            ended = Publishing(run.run_id, target.repo_id, "done", "done", url=pushed.url, note=pushed.note)
        except LabError as problem:
            ended = Publishing(run.run_id, target.repo_id, "failed", "failed", problem=str(problem))
        except Exception as error:  # noqa: BLE001  # whoever asked must not wait for ever
            traceback.print_exc(file=sys.stderr)
            problem = f"Publishing met an unexpected problem ({type(error).__name__}). Try again: nothing is done twice."
            ended = Publishing(run.run_id, target.repo_id, "failed", "failed", problem=problem)
        finally:
            self._one.release()
        self._latest[run.run_id] = ended

    def _measured_again(self, run: Run, downloaded: Run) -> dict[str, Any]:
        asked = {"run": str(run.folder), "downloaded": str(downloaded.folder)}
        return self._errands.run("lorasae.publishing.check", asked, "A published adapter was to be measured again", CHECK_LIMIT_S)
