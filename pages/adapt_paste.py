"""What was put into the SAE box -> an SAE, its model, and a feature: a name as the lab writes it, or any other that an SAE has."""

from dataclasses import dataclass
from typing import Any

from lorasae.config import SAERef
from lorasae.errors import LabError
from lorasae.sources.catalog import POCKET_MODEL, POCKET_RELEASE, default_pocket_sae, hub_id, is_folder, resolve
from lorasae.sources.registered_saes import registered_saes
from lorasae.sources.search import MOST_CHARACTERS, address_of, by_name
from lorasae.sources.shelf import search


@dataclass(frozen=True)
class Pasted:
    """What a text names."""

    ref: SAERef
    model: str | None = None  # that the SAE was trained on, where that is known and is no folder
    feature: int | None = None


def sae_of(text: str) -> SAERef:
    """The SAE that a choice or typed words name: `RELEASE / SAE_ID`, `RELEASE SAE_ID`, or a release or folder alone."""
    text = text.strip()
    release, slash, sae_id = text.partition(" / ")
    if not slash:
        release, _, sae_id = text.partition(" ")
    return SAERef(release=release.strip(), sae_id=sae_id.strip())


def whole(ref: SAERef) -> str:
    """An SAE's full name: the default pocket SAE may be named by its release alone."""
    return str(default_pocket_sae() if ref == SAERef(release=POCKET_RELEASE) else ref)


def pasted(text: str, model: str) -> Pasted:
    """What `text` names; where it names several SAEs, the first of `model`. What is no name comes back as it is, to be told so."""
    text = text.strip()[:MOST_CHARACTERS]
    ref = sae_of(text)
    try:
        card = resolve(ref)
    except LabError:
        found = search(text)
        if not found.by_name:
            refused = by_name(text, registered_saes().refused)
            return Pasted(refused[0].ref if refused else ref)
        card = next((each for each in found.cards if each.model == model), found.cards[0])
    known = hub_id(card.model) if card.folder is None and card.model else POCKET_MODEL if card.ref.release == POCKET_RELEASE else None
    return Pasted(card.ref, known, address_of(text).feature)


def with_named_sae(form: dict[str, Any]) -> dict[str, Any]:
    """The form with the SAE box's text in full, and the model it belongs to chosen; a feature named along with it is pinned."""
    if not form["sae"]:
        return form
    named = pasted(str(form["sae"]), form["model"])
    form = form | {"sae": whole(named.ref)}
    if named.model and named.model != form["model"] and not (is_folder(form["model"]) and form["model"] != POCKET_MODEL):
        form |= {"model": named.model, "saes": []}  # a folder could hold any model
    return form if named.feature is None else form | {"pinned": with_pin(form["pinned"], named.ref, named.feature)}


def with_pin(pinned: list[dict[str, Any]] | None, ref: SAERef, feature: int) -> list[dict[str, Any]]:
    """The pinned features and one more, once."""
    pin = {"release": ref.release, "sae_id": ref.sae_id, "feature": feature}
    return [*(each for each in pinned or [] if each != pin), pin]
