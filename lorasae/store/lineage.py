"""Whose an adapter was before: the repositories and runs it came from, nearest first, as each result records them.

A result names what its run began with (`start`), or where it was opened from (`origin`). Either holds one ancestor and, as `before`, the
ancestors of that one, so that authors and licences are known however often an adapter was continued.
"""

import json
from collections.abc import Mapping
from typing import Any

from lorasae.store.run_folder import Run

MOST_ANCESTORS = 20
OWN_FOLDER = "an-adapter-of-your-own"  # whose name is nobody else's business
_NAMES = ("repo_id", "commit", "licence", "run_id", "others", "folder")
Ancestor = dict[str, Any]  # repo_id, commit and perhaps licence; or run_id, and whether it is somebody else's; or folder


def lineage(result: Mapping[str, Any]) -> list[Ancestor]:
    """The ancestors that a result names, nearest first; empty for an adapter that began afresh."""
    record = result.get("origin") or result.get("start")
    return [_ancestor(each) for each in (record, *(record.get("before") or []))][:MOST_ANCESTORS] if record else []


def _ancestor(record: Mapping[str, Any]) -> Ancestor:
    """What a record says of one ancestor alone. The run in a repository is that repository's own matter."""
    told = {name: record[name] for name in _NAMES if record.get(name)}
    return {name: value for name, value in told.items() if name != "run_id" or "repo_id" not in told}


def descended_from(run: Run, owner: str) -> Ancestor:
    """The record of an adapter of `owner` that begins with this run's: a run that was opened here is another name for its repository."""
    known = run.result if run.has_result else {}
    before = lineage(known)
    if known.get("origin"):
        return {**before[0], "before": before[1:]}
    others = {"others": True} if run.about.owner != owner else {}
    return {"run_id": run.run_id, **others, "before": before[: MOST_ANCESTORS - 1]}


def origin_of(run: Run) -> tuple[str, str] | None:
    """The repository and commit a run was opened from; None of one that was made here."""
    try:
        origin = json.loads((run.folder / "origin.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return origin["repo_id"], origin["commit"]
