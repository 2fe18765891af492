"""A run in JSON, as the pages read it: whose it is, what it is doing, what it was asked to do, and what came of it."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from lorasae.config import RunConfig, SAERef
from lorasae.errors import LabError
from lorasae.lab import Lab
from lorasae.sources.catalog import is_folder, resolve
from lorasae.sources.neuronpedia import neuronpedia_id
from lorasae.sources.sae_card import SAECard
from lorasae.store.lineage import lineage
from lorasae.store.run_folder import Run
from lorasae.store.run_records import pins_to_json
from lorasae.store.started_from import origin_of_start
from lorasae.web.access import may_act
from lorasae.web.glances import Glance

_HEADLINE = ("gap_closed", "ce_gap_before", "ce_gap_after")
_MEASURED = ("succeeded", "stopped")  # a run taken up again still has the result of its earlier stop, which counts no more
_PLACEMENT = {"after": "layers after the SAE", "all": "all layers"}
_MAY_GO_ON = ("interrupted", "failed", "stopped")
Summary = dict[str, Any]
_NEURONPEDIA = "https://www.neuronpedia.org"


def summary(lab: Lab, run: Run, visitor: str, glance: Glance) -> Summary:
    """All about a run."""
    result = run.result if run.has_result else None
    config = run.config
    outline = _outline(lab, run, visitor, config, result, glance)
    return {
        **outline,
        "config": config.model_dump(mode="json"),
        "results": result["results"] if result and outline["state"] in _MEASURED else None,
        "versions": run.described.get("versions", {}),
        "descent": _descent(run, result),
    }


def card(lab: Lab, run: Run, visitor: str, glance: Glance) -> Summary:
    """A run among others: what a summary says, without its settings and results in full, with its curve."""
    config = run.config
    outline = _outline(lab, run, visitor, config, run.result if run.has_result else None, glance)
    return {**outline, "spark": glance.spark, "settings": settings_in_words(config, outline["saes"])}


def status_of(lab: Lab, run: Run) -> Summary:
    """What a run is doing now."""
    return asdict(lab.jobs.view(run.run_id))


def _outline(lab: Lab, run: Run, visitor: str, config: RunConfig, result: Mapping[str, Any] | None, glance: Glance) -> Summary:
    about, status = run.about, status_of(lab, run)
    may_change = may_act(run, visitor)
    saes = [_measured_sae(sae) for sae in result["saes"]] if result else [_stated_sae(ref) for ref in config.saes]
    return {
        "run_id": run.run_id,
        "name": about.name,
        "title": about.name or _unnamed(config, saes),
        "is_yours": visitor == about.owner,
        "may_act": may_change,
        "shared": about.shared,
        "is_example": run.read_only,
        "created": about.created,
        **status,
        "tokens_per_step": config.train.tokens_per_step,
        "headline": _headline(result if status["state"] in _MEASURED else None, glance),
        "kept": _kept(result) if status["state"] not in _MEASURED else None,
        "heldout": _heldout(result),
        "computed": _computed(result),
        "saes": saes,
        "pins": pins_to_json(run.pins),
        "resume_blocked": lab.jobs.resume_blocked(run) if may_change and status["state"] in _MAY_GO_ON else None,
    }


def _descent(run: Run, result: Mapping[str, Any] | None) -> Summary | None:
    """The adapter that the run's came from, and whether it is that very one: opened here, or only measured."""
    known = result or {"start": origin_of_start(run)}
    ancestors = lineage(known)
    return {**ancestors[0], "unchanged": "origin" in known or known.get("n_steps") == 0} if ancestors else None


def _unnamed(config: RunConfig, saes: list[Summary]) -> str:
    """What a run is called that has no name."""
    others = f" and {len(saes) - 1} more" if len(saes) > 1 else ""
    return f"{config.model.model.rsplit('/', 1)[-1]} around {saes[0]['sae_id'] or saes[0]['release']}{others}"


def settings_in_words(config: RunConfig, saes: list[Summary]) -> str:
    """The settings that tell runs apart, on one line."""
    adapter, train, source = config.adapter, config.train, config.data.source
    places = ", ".join(sae["sae_id"] or sae["release"] if sae["layer"] is None else f"layer {sae['layer']}" for sae in saes)
    where = f"layers {', '.join(map(str, adapter.layers))}" if adapter.layers else _PLACEMENT[adapter.placement]
    text = "" if source == "pocket" else f" of {Path(source).name if source.startswith('/') else source}"
    parts = [config.model.model, f"SAE at {places}", f"rank {adapter.rank} on {where}"]
    if adapter.start:
        parts.append(f"begins with {Path(adapter.start).name if is_folder(adapter.start) else adapter.start.partition('@')[0]}")
    if not train.tokens:
        return " · ".join([*parts, "nothing trained"])
    return " · ".join([*parts, f"{train.tokens:,} tokens{text}", f"learning rate {train.learning_rate:g}"])


def _headline(result: Mapping[str, Any] | None, glance: Glance) -> Summary:
    """The result's numbers; those of the latest evaluation while there is no result yet."""
    results: Mapping[str, Any] = result["results"] if result else {}
    gap_closed = results.get("gap_closed")
    if gap_closed is None and "gap_closed" in glance.latest:
        gap_closed = {"value": glance.latest["gap_closed"], "standard_error": glance.latest.get("gap_closed_error")}
    gaps = {key: results[key]["value"] if key in results else glance.latest.get(key) for key in _HEADLINE[1:]}
    return {"gap_closed": gap_closed, **gaps}


def _kept(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What an earlier stop of a run had reached that was taken up again since."""
    return {"step": result["step"], "gap_closed": result["results"]["gap_closed"]} if result else None


def _heldout(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {key: result["heldout"][key] for key in ("n_sequences", "n_tokens")} if result else None


def _computed(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How the run's steps were computed, and how long that took; of one made before either was recorded, what there is."""
    return {"way": result.get("way"), "seconds": result.get("seconds", {})} if result else None


def _measured_sae(sae: Mapping[str, Any]) -> Summary:
    ref = SAERef(release=sae["release"], sae_id=sae["sae_id"])
    measured, card = sae.get("original") or sae.get("stated") or {}, _card(ref)
    found = _sae(ref, sae["hook_point"], sae["d_sae"], measured.get("l0"), measured.get("fve"), card)
    return {**found, "measured": bool(sae.get("original"))}


def _stated_sae(ref: SAERef) -> Summary:
    card = _card(ref)
    if card is None:
        return _sae(ref, None, None, None, None, None)
    return _sae(card.ref, card.hook_point, card.d_sae, card.l0, card.fve, card)


def _sae(ref: SAERef, hook_point: str | None, d_sae: int | None, l0: float | None, fve: float | None, card: SAECard | None) -> Summary:
    layer = re.search(r"\d+", hook_point or "")
    return {
        "release": ref.release,
        "sae_id": ref.sae_id,
        "hook_point": hook_point,
        "layer": int(layer[0]) if layer else None,
        "d_sae": d_sae,
        "l0": l0,
        "fve": fve,
        "measured": False,
        "neuronpedia": _neuronpedia(card),
    }


def _card(ref: SAERef) -> SAECard | None:
    """What is stated about an SAE; None where it cannot be found any more."""
    try:
        return resolve(ref) if is_folder(ref.release) else _published(ref.release, ref.sae_id)
    except LabError:
        return None


@lru_cache(maxsize=1024)
def _published(release: str, sae_id: str) -> SAECard:
    """The card of a published SAE: what the installed packages say about it does not change while the lab runs."""
    return resolve(SAERef(release=release, sae_id=sae_id))


def _neuronpedia(card: SAECard | None) -> str | None:
    name = neuronpedia_id(card) if card is not None else None
    return f"{_NEURONPEDIA}/{name}" if name else None
