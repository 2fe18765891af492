"""The gallery: adapters that were published from labs, as the Hub's tag search finds them, and those that this home knows already.

What a stranger's card states is that author's claim. It is shown as one, until the adapter was measured here.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, http_backoff

from lorasae.errors import LabError
from lorasae.publishing.card import BLOCK, TAG
from lorasae.sources.hub_names import is_repo_id
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.store.lineage import origin_of
from lorasae.store.run_folder import Run
from lorasae.store.started_from import origin_of_start

MOST_ROWS = 500  # of the newest
KEPT_S = 60.0
_ASK_S = 5.0  # the Hub answers within this time, or it is not reached
_TOLD = ("author", "cardData", "createdAt", "gated", "lastModified", "model-index", "private", "sha", "tags")
_MOST_SAES = 8
_MOST_LISTS = 64
_ASKED = "The adapters on the Hub were to be listed"
_LOG = logging.getLogger("lorasae.publishing")


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
    _asked: set[str] = field(default_factory=set)  # lists being fetched
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listed(self, visitor: str, api: HfApi) -> GalleryList:
        """The list, at most a minute old; a failure too is remembered that long. While it is fetched, others see the old one."""
        key = "public" if api.token is False else visitor
        with self._lock:
            known = self._kept.get(key)
            if known is not None and (time.monotonic() - known[0] <= KEPT_S or key in self._asked):
                return known[1]
            self._asked.add(key)
        try:
            found = _list_or_problem(api)
        finally:
            with self._lock:
                self._asked.discard(key)
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= _MOST_LISTS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (time.monotonic(), found)
        return found


def _list_or_problem(api: HfApi) -> GalleryList:
    try:
        return published_adapters(api)
    except LabError as problem:
        return GalleryList(problem=str(problem))
    except Exception:  # noqa: BLE001  # what strangers write never takes the gallery down
        _LOG.exception("the gallery's list could not be read")
        return GalleryList(problem=str(_unreadable()))


def published_adapters(api: HfApi) -> GalleryList:
    """The newest adapters with the lab's tag.

    Raises:
        LabError: If the Hub cannot be reached, or refuses.
    """
    try:
        with hub_problems_told(_ASKED, "the list", (), api):
            get_session().get(f"{api.endpoint}/api/models", params={"filter": TAG, "limit": 1}, timeout=_ASK_S)  # no retries: see at once
            infos = list(islice(_infos(api), MOST_ROWS + 1))
    except LabError as problem:
        if "cannot be reached" not in problem.found:
            raise
        remedy = "Connect to the network and reload; what is in this lab already is shown all the same"
        raise LabError(_ASKED, "The Hub cannot be reached", remedy) from problem
    rows = (row_of(info) for info in infos[:MOST_ROWS])
    return GalleryList(tuple(row for row in rows if row is not None), has_more=len(infos) > MOST_ROWS)


def _infos(api: HfApi) -> Iterator[Any]:
    """What the Hub tells about each, as plain JSON: the client's own classes fail at front matter that names their arguments."""
    headers = build_hf_headers(token=api.token)
    url, params = f"{api.endpoint}/api/models", {"filter": TAG, "sort": "lastModified", "expand": list(_TOLD)}
    while url:
        answer = http_backoff("GET", url, params=params, headers=headers)
        hf_raise_for_status(answer)
        try:
            page = json.loads(answer.content, parse_int=_whole)
        except (ValueError, RecursionError):
            raise _unreadable() from None
        yield from page if isinstance(page, list) else ()
        url, params = answer.links.get("next", {}).get("url"), None


def _unreadable() -> LabError:
    return LabError(
        _ASKED, "What the Hub answered cannot be read", "Try again in a while; what is in this lab already is shown all the same"
    )


def _whole(digits: str) -> int | float:
    """A number of hundreds of digits is none that anybody counts with, and Python refuses to read one of thousands."""
    return int(digits) if len(digits) < 19 else float(digits)


def row_of(info: Any) -> GalleryRow | None:
    """A repository as its card has it; whatever is not of the form that the lab writes is left out. None of one without a name."""
    repo_id = info.get("id") if isinstance(info, Mapping) else None
    if not isinstance(repo_id, str) or not is_repo_id(repo_id):
        return None
    card = _mapping(info.get("cardData"))
    told = _mapping(card.get(BLOCK))
    base = card.get("base_model")
    saes = told.get("saes")
    return GalleryRow(
        repo_id=repo_id,
        author=_text(info.get("author")) or repo_id.partition("/")[0],
        model=_text(told.get("model")) or _text(base[0] if isinstance(base, list) and base else base),
        saes=tuple(_sae(each) for each in saes[:_MOST_SAES] if isinstance(each, Mapping)) if isinstance(saes, list) else (),
        rank=_count(told.get("rank")),
        gap_closed=_number(told.get("gap_closed")),
        gap_closed_error=_number(told.get("gap_closed_error")),
        measured_again=told.get("measured_again") is True,
        licence=_text(card.get("license_name")) or _text(card.get("license")),
        gated=bool(info.get("gated")),
        private=bool(info.get("private")),
        created=_text(info.get("createdAt")) or _text(info.get("lastModified")) or "",
        commit=_text(info.get("sha")) or "",
    )


def known_here(runs: list[Run]) -> list[KnownHere]:
    """Those of the runs that were opened from the Hub, and those that only measured what they began with."""
    opened, measured = [], []
    for run in runs:
        if (origin := origin_of(run)) is not None:
            opened.append(_known(run, *origin, measured=False))
        elif (begun := origin_of_start(run)) and "repo_id" in begun and run.has_result and run.result.get("n_steps") == 0:
            measured.append(_known(run, str(begun["repo_id"]), str(begun["commit"]), measured=True))
    return [*opened, *measured]


def _known(run: Run, repo_id: str, commit: str, *, measured: bool) -> KnownHere:
    try:
        entry = _mapping(_mapping(run.result.get("results")).get("gap_closed"))
        model = run.config.model.model
    except LabError:
        entry, model = {}, ""
    value, error = _number(entry.get("value")), _number(entry.get("standard_error"))
    return KnownHere(run.run_id, repo_id, commit, measured, run.about.name, model, value, error)


def _sae(told: Mapping[str, Any]) -> dict[str, Any]:
    names = {name: _text(told.get(name)) for name in ("release", "sae_id", "hook_point")}
    return {**names, "d_sae": _count(told.get("d_sae")), "l0": _number(told.get("l0"))}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    """A stranger's words, on one line and without what a terminal would obey."""
    return "".join(letter for letter in value[:200] if letter.isprintable()) or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e9 else None  # never so of NaN; a whole number may be too large for a float


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None
