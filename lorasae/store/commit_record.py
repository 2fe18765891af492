"""Which commits on the Hub a run was begun with: noted when they are first known, and used whenever the run goes on or is opened."""

import json

from lorasae.errors import LabError
from lorasae.sources.commits import Commits
from lorasae.store.durable import write_json
from lorasae.store.run_folder import Run


def recorded_commits(run: Run) -> Commits:
    """The commits of a run; none of one that was not begun, or before they were noted."""
    try:
        noted = json.loads(run.commits_file.read_text(encoding="utf-8"))
        return Commits(noted["model"], dict(noted["saes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Commits()


def record_commits(run: Run, used: Commits) -> None:
    """Note what came from the Hub, the first time; later, refuse anything else.

    Raises:
        LabError: If a part of the run is not of the commit that the run was begun with.
    """
    if not run.commits_file.exists():
        if used != Commits():
            write_json(run.commits_file, {"model": used.model, "saes": dict(used.saes)})
        return
    noted = recorded_commits(run)
    parts = {"model": (noted.model, used.model), **{name: (commit, used.saes.get(name)) for name, commit in noted.saes.items()}}
    for name, (before, now) in parts.items():
        if before is not None and before != now:
            raise LabError(
                f"The run {run.run_id} was to go on",
                f"Its {'model' if name == 'model' else f'SAE {name}'} was of commit {before}, and is now {_told(now)}",
                "Restore what was used, or start a new run",
            )


def _told(commit: str | None) -> str:
    return f"of commit {commit}" if commit else "a folder of this machine"
