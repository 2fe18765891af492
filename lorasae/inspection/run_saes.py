"""Through which SAEs a run can be looked at, and which of them a visitor may name."""

from typing import Any

from lorasae.config import SAERef
from lorasae.errors import LabError
from lorasae.inspection.opened_run import OpenedRun, OpenedSAE
from lorasae.sources.catalog import POCKET_RELEASE, is_folder, saes_of
from lorasae.sources.loading import check_pair
from lorasae.sources.registry import registry
from lorasae.sources.sae_card import SAECard
from lorasae.sources.still_to_fetch import sae_is_here


def offered(opened: OpenedRun) -> list[dict[str, Any]]:
    """The run's own SAEs first, then those of its model that are on this machine, lowest layer first."""
    own = opened.own_saes
    rows = [_row(each.card, str(each.hook_point), each.hook_point.layer, each.sae.d_sae, True, each.can_change) for each in own]
    named = [each.card.ref for each in own]
    model = opened.config.model.model
    for card in () if is_folder(model) else saes_of(model):
        if card.ref in named or not (card.folder or sae_is_here(card.ref)):
            continue
        try:
            hook_point = check_pair(card, model, opened.loaded.model)
        except LabError:  # a place that this model does not have
            continue
        rows.append(_row(card, str(hook_point), hook_point.layer, card.d_sae, False, opened.can_change(hook_point)))
    return rows


def _row(card: SAECard, hook_point: str, layer: int, d_sae: int | None, spliced: bool, can_change: bool) -> dict[str, Any]:
    return {
        "release": card.ref.release,
        "sae_id": card.ref.sae_id,
        "hook_point": hook_point,
        "layer": layer,
        "d_sae": d_sae,
        "l0": card.l0,
        "spliced": spliced,
        "can_change": can_change,
    }


def chosen(opened: OpenedRun, release: str, sae_id: str, *, folders: bool) -> OpenedSAE:
    """The SAE that somebody named; the run's first own one if nothing was named.

    Args:
        opened: The run.
        release: As in SAERef.
        sae_id: As in SAERef.
        folders: Whether folders of this machine may be named: only by the owner of the machine.

    Raises:
        LabError: For an SAE that is not here, not this model's, or not this visitor's to open.
    """
    if not release:
        return opened.sae(None)
    ref = SAERef(release=release, sae_id=sae_id)
    if ref in [each.card.ref for each in opened.own_saes]:
        return opened.sae(ref)
    published = release == POCKET_RELEASE or (not is_folder(release) and release in registry())
    if not published and not folders:
        raise LabError(f"The SAE {ref} was asked for", "It is not one that can be opened here", "Choose one of the SAEs offered")
    if published and not sae_is_here(ref):
        raise LabError(
            f"The SAE {ref} was asked for", "It is not on this machine, and inspection fetches nothing", "Adapt a run to it first"
        )
    return opened.sae(ref)


def above(opened: OpenedRun, observed: OpenedSAE, n: int = 6) -> list[dict[str, str]]:
    """Where features can change, when those of the observed SAE cannot: nearest layer first, then those most like it."""
    if observed.can_change:
        return []
    width, l0 = observed.sae.d_sae, observed.card.l0 or 0.0
    higher = [row for row in offered(opened) if row["can_change"]]
    higher.sort(key=lambda row: (row["layer"], abs((row["d_sae"] or 0) - width), abs((row["l0"] or 0.0) - l0)))
    return [{"release": row["release"], "sae_id": row["sae_id"]} for row in higher[:n]]
