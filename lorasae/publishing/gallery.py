"""The gallery: adapters that were published from labs, as the Hub's tag search finds them, and those that this home knows already.

What a stranger's card states is that author's claim. It is shown as one, until the adapter was measured here.
"""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import get_session

from lorasae.errors import LabError
from lorasae.publishing.card import BLOCK, TAG
from lorasae.publishing.reopen import origin_of
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.store.run_folder import Run
from lorasae.store.started_from import origin_of_start

MOST_ROWS = 500  # of the newest
KEPT_S = 60.0
_ASK_S = 5.0  # the Hub answers within this time, or it is not reached
_TOLD = ("author", "cardData", "createdAt", "gated", "lastModified", "model-index", "private", "sha", "tags")
_MOST_SAES = 8
_MOST_LISTS = 64


@dataclass(frozen=True)
class GalleryRow:
    """One published adapter, as its card has it. What a card leaves out is None."""

    repo_id: str
    author: str
    model: str | None
    saes: tuple[dict[str, Any], ...]  # release, sae_id, hook_point, d_sae, l0
    rank: int | None
    gap_closed: float | None
    gap_closed_error: float | None
    measured_again: bool  # whether the card says that the published files were measured
    licence: str | None
    gated: bool
    private: bool
    created: str
    commit: str


@dataclass(frozen=True)
class GalleryList:
    """What the Hub answered, or why it did not."""

    rows: tuple[GalleryRow, ...] = ()
    has_more: bool = False
    problem: str = ""


@dataclass(frozen=True)
class KnownHere:
    """A run of this home that holds a published adapter."""

    run_id: str
    repo_id: str
    commit: str
    measured: bool  # whether its numbers were measured here, or are its author's
    name: str = ""
    model: str = ""
    gap_closed: float | None = None
    gap_closed_error: float | None = None


@dataclass
class Gallery:
    """One per app: lists are kept for a minute, each apart for those who see more than the public."""

    _kept: dict[str, tuple[float, GalleryList]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listed(self, visitor: str, api: HfApi) -> GalleryList:
        """The list, at most a minute old; a failure too is remembered that long."""
        key = "public" if api.token is False else visitor
        with self._lock:
            known = self._kept.get(key)
            if known is None or time.monotonic() - known[0] > KEPT_S:
                try:
                    found = published_adapters(api)
                except LabError as problem:
                    found = GalleryList(problem=str(problem))
                while len(self._kept) >= _MOST_LISTS:
                    self._kept.pop(next(iter(self._kept)))
                known = self._kept[key] = (time.monotonic(), found)
        return known[1]


def published_adapters(api: HfApi) -> GalleryList:
    """The newest adapters with the lab's tag.

    Raises:
        LabError: If the Hub cannot be reached, or refuses.
    """
    asked = "The adapters on the Hub were to be listed"
    try:
        with hub_problems_told(asked, "the list", ()):
            get_session().get(f"{api.endpoint}/api/models", params={"filter": TAG, "limit": 1}, timeout=_ASK_S)  # no retries: see at once
            infos = list(islice(api.list_models(filter=TAG, sort="last_modified", expand=list(_TOLD)), MOST_ROWS + 1))  # type: ignore[arg-type]
    except LabError as problem:
        if "cannot be reached" not in problem.found:
            raise
        remedy = "Connect to the network and reload; what is in this lab already is shown all the same"
        raise LabError(asked, "The Hub cannot be reached", remedy) from problem
    return GalleryList(tuple(row_of(info) for info in infos[:MOST_ROWS]), has_more=len(infos) > MOST_ROWS)


def row_of(info: ModelInfo) -> GalleryRow:
    """A repository as its card has it; whatever is not of the form that the lab writes is left out."""
    card: Mapping[str, Any] = info.card_data.to_dict() if info.card_data else {}
    block = card.get(BLOCK)
    told: Mapping[str, Any] = block if isinstance(block, Mapping) else {}
    base = card.get("base_model")
    saes = told.get("saes")
    return GalleryRow(
        repo_id=info.id,
        author=info.author or info.id.partition("/")[0],
        model=_text(told.get("model")) or _text(base[0] if isinstance(base, list) and base else base),
        saes=tuple(_sae(each) for each in saes[:_MOST_SAES] if isinstance(each, Mapping)) if isinstance(saes, list) else (),
        rank=_count(told.get("rank")),
        gap_closed=_number(told.get("gap_closed")),
        gap_closed_error=_number(told.get("gap_closed_error")),
        measured_again=told.get("measured_again") is True,
        licence=_text(card.get("license_name")) or _text(card.get("license")),
        gated=bool(info.gated),
        private=bool(info.private),
        created=changed.isoformat() if (changed := info.created_at or info.last_modified) else "",
        commit=info.sha or "",
    )


def known_here(runs: list[Run]) -> list[KnownHere]:
    """Those of the runs that were opened from the Hub, and those that only measured what they began with."""
    opened: dict[str, KnownHere] = {}
    for run in runs:
        if (origin := origin_of(run)) is not None:
            opened[run.run_id] = _known(run, *origin, measured=False)
    measured = []
    for run in runs:
        begun = origin_of_start(run)
        if begun is None or not run.has_result or run.result.get("n_steps") != 0:
            continue
        if "repo_id" in begun:
            measured.append(_known(run, str(begun["repo_id"]), str(begun["commit"]), measured=True))
        elif (source := opened.get(str(begun.get("run_id")))) is not None:
            measured.append(_known(run, source.repo_id, source.commit, measured=True))
    return [*opened.values(), *measured]


def _known(run: Run, repo_id: str, commit: str, *, measured: bool) -> KnownHere:
    try:
        entry = run.result["results"].get("gap_closed") or {}
        model = run.config.model.model
    except (LabError, KeyError):
        entry, model = {}, ""
    value, error = _number(entry.get("value")), _number(entry.get("standard_error"))
    return KnownHere(run.run_id, repo_id, commit, measured, run.about.name, model, value, error)


def _sae(told: Mapping[str, Any]) -> dict[str, Any]:
    names = {name: _text(told.get(name)) for name in ("release", "sae_id", "hook_point")}
    return {**names, "d_sae": _count(told.get("d_sae")), "l0": _number(told.get("l0"))}


def _text(value: Any) -> str | None:
    """A stranger's words, on one line and without what a terminal would obey."""
    return "".join(letter for letter in value[:200] if letter.isprintable()) or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and abs(value) < 1e9 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None
