"""Publishing a run, read top to bottom: make the files, push them, download them again, measure both, and say so on the card."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from lorasae.errors import LabError
from lorasae.publishing.package import make_package
from lorasae.publishing.publication import Publication, publication
from lorasae.publishing.push import Pushed, Target, push
from lorasae.publishing.reopen import fetch, lay_out, refuse_what_none_could_open
from lorasae.publishing.visibility import show_as_wished
from lorasae.sources.hub_names import refuse_no_name
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.store.durable import write_json
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore

TOLERANCE = 1e-4  # nats per token by which the downloaded adapter may differ from the one that was published
_RECORD = "published.json"
Measured = Callable[[Run, Run], dict[str, Any]]


def publish(run: Run, target: Target, api: HfApi, measured_again: Measured | None, told: Callable[[str], None] = lambda _: None) -> Pushed:
    """Publish a run. Done again, it finds what is there and changes nothing.

    Args:
        run: A finished run, or one that was stopped and kept.
        target: Where to.
        api: A client with the author's token; it lives as long as this call.
        measured_again: `check.measured_again`, wherever that is computed; None leaves the check out, as for a pull request.
        told: Hears the phases, in words.

    Raises:
        LabError: If the run cannot be published, the Hub refuses, or the downloaded adapter does not do what the run's own does.
    """
    asked = f"The run {run.run_id} was to be published as {target.repo_id}"
    refuse_no_name(asked, target.repo_id)
    with hub_problems_told(asked, target.repo_id, (), api):
        pushed = _pushed_and_checked(run, target, api, measured_again, told)
        return pushed if target.as_pull_request else replace(pushed, note=show_as_wished(api, target))


def _pushed_and_checked(run: Run, target: Target, api: HfApi, measured_again: Measured | None, told: Callable[[str], None]) -> Pushed:
    what, known = publication(run), _known(run, target.repo_id)
    pushed = _push(what, target, api, known.get("checked"), told)
    if target.as_pull_request:
        return pushed
    if "checked" not in known:
        write_json(run.folder / _RECORD, {"repo_id": target.repo_id, "commit": pushed.commit, "url": pushed.url})
    if measured_again is None or "checked" in known:
        return pushed
    told("downloading it again")
    checked = _checked(run, pushed, api, measured_again, told)
    record = {"repo_id": target.repo_id, "commit": pushed.commit, "url": pushed.url, "checked": checked}
    write_json(run.folder / _RECORD, record)  # before the commit that says so: done again, the same card is made
    told("writing what was measured on the card")
    return _push(what, target, api, checked, told)


def preview(run: Run, repo_id: str, folder: Path) -> list[str]:
    """Write the files that would be published; returns their names.

    Raises:
        LabError: If the run cannot be published.
    """
    refuse_no_name(f"The run {run.run_id} was to be published as {repo_id}", repo_id)
    return _packed(publication(run), repo_id, folder, None)


def _packed(what: Publication, repo_id: str, folder: Path, checked: dict[str, Any] | None) -> list[str]:
    """The files in a folder; nothing leaves this machine that could not be opened again."""
    names = make_package(what, repo_id, folder, checked)
    refuse_what_none_could_open(f"The run {what.run.run_id} was to be published as {repo_id}", folder)
    return names


def _push(what: Publication, target: Target, api: HfApi, checked: dict[str, Any] | None, told: Callable[[str], None]) -> Pushed:
    with tempfile.TemporaryDirectory(prefix="lorasae-publish-") as folder:
        told("making card and pictures")
        _packed(what, target.repo_id, Path(folder), checked)
        return push(Path(folder), what.run.run_id, target, api, told)


def _checked(run: Run, pushed: Pushed, api: HfApi, measured_again: Measured, told: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lorasae-check-") as name:
        folder = Path(name)
        fetched = fetch(pushed.repo_id, api, folder / "files", pushed.commit)
        downloaded = RunStore(folder / "home").create(fetched.config, fill=lambda new: lay_out(fetched, new))
        told("measuring the downloaded adapter beside the run's own")
        checked = measured_again(run, downloaded)
    far = {key: pair for key, pair in checked["metrics"].items() if abs(pair["stated"] - pair["measured"]) > TOLERANCE}
    if far:
        key, pair = next(iter(far.items()))
        raise LabError(
            f"The adapter published as {pushed.repo_id} was measured again",
            f"Downloaded, its {key} is {pair['measured']:.5f}; the run's own is {pair['stated']:.5f}",
            "Publish it again; if that does not help, look whether the repository was changed by somebody else",
        )
    return checked


def published(run: Run) -> dict[str, Any] | None:
    """Where a run was last published, and what was measured there; None if it never was."""
    try:
        return json.loads((run.folder / _RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _known(run: Run, repo_id: str) -> dict[str, Any]:
    """What is known of an earlier publication under that name."""
    known = published(run) or {}
    return known if known.get("repo_id") == repo_id else {}
