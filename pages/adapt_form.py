"""What the Adapt page's boxes mean together, without Gradio: values in, values and a config out. One pure function serves every change.

A form is a plain dict: `model`, `layer`, `sae`, `several`, `saes`, `preset`, `source`, `dataset`, `data.source`, `name`, `watch`, `pinned`,
and every setting of pages/adapt_fields.py under its own name.
"""

from dataclasses import dataclass, field
from typing import Any

from lorasae.config import PRESETS, ModelConfig, RunConfig, run_config
from lorasae.errors import LabError
from lorasae.planning.config_text import flat, nested, preset_settings
from lorasae.planning.fitting import refuse_misfits, refuse_too_long, refuse_unknown_model
from lorasae.sources.catalog import POCKET_MODEL, POCKET_RELEASE, alike, default_pocket_sae, hub_id, resolve, saes_of, site_of
from lorasae.sources.known_datasets import KNOWN_DATASETS, known_dataset
from lorasae.sources.sae_card import SAECard
from lorasae.sources.text_files import SUFFIXES
from pages.adapt_fields import DATASET, FIELDS, meant, shown
from pages.adapt_mending import by_label, fit_to_model, mending
from pages.adapt_paste import sae_of, whole, with_named_sae

Form = dict[str, Any]
SOURCES = {"The pocket world": "pocket", "A file of mine": "file", "A dataset on the Hub": "hub"}
_UNUSED_BY = {  # what a dataset would need, left as it is by default
    "pocket": ("data.config_name", "data.split", "data.column"),
    "file": ("data.config_name", "data.split"),
    "hub": (),
}
_STILL_EMPTY = {
    "file": ("A file of yours was chosen as text", "No file was given yet", "Give it under Text, or choose the pocket world"),
    "hub": (
        "A dataset on the Hub was chosen as text",
        "No dataset was named yet",
        "Choose one under Text, or type its id, such as org/name",
    ),
}
_CHOSEN_BY_PRESET = [
    setting for setting in FIELDS if setting not in {"model.revision", "adapter.start", *(each.setting for each in DATASET)}
]


class StillEmpty(LabError):
    """Something that a person was just about to fill in: said as what comes next, not as something that went wrong."""


@dataclass
class Reading:
    """A form made consistent, and what it means."""

    form: Form
    config: RunConfig | None = None
    problem: str | None = None  # a sentence; the config may be there all the same
    fix: dict[str, Any] = field(default_factory=dict)  # settings that together would mend the problem
    still_empty: bool = False  # the problem is a box that nobody came to yet
    nobody: str | None = None  # why whoever asks could not start it whatever the settings, as a sentence
    sign_in: bool = False  # signing in would change that
    offered: tuple[SAECard, ...] = ()  # SAEs of the model


def first_form(preset: str = "default") -> Form:
    """The form as it opens: the pocket model, its default SAE, the pocket world."""
    form: Form = {setting: shown(setting, value) for setting, value in preset_settings(preset).items() if setting in FIELDS}
    sae = default_pocket_sae()
    return form | {
        "model": POCKET_MODEL,
        "layer": resolve(sae).layer,
        "sae": str(sae),
        "several": False,
        "saes": [str(sae)],
        "preset": preset,
        "source": "pocket",
        "dataset": "",
        "data.source": "",
        "name": "",
        "watch": "",
        "pinned": [],
    }


def form_of(config: RunConfig, preset: str | None = None) -> Form:
    """The form that would start this config; the preset it differs from least, if none is named."""
    settings = flat(config.model_dump(mode="json"))
    saes = [whole(ref) for ref in config.saes]
    kind = "pocket" if config.data.source == "pocket" else "file" if config.data.source.endswith(SUFFIXES) else "hub"
    return {
        **{setting: shown(setting, settings[setting]) for setting in FIELDS},
        "model": config.model.model,
        "layer": _layer_of(saes[0]),
        "sae": saes[0],
        "several": len(saes) > 1,
        "saes": saes,
        "preset": preset or nearest_preset(config),
        "source": kind,
        "dataset": config.data.source if kind == "hub" and known_dataset(config.data.source) else "",
        "data.source": "" if kind == "pocket" else config.data.source,
        "name": config.name,
        "watch": "",
        "pinned": [],
    }


def nearest_preset(config: RunConfig) -> str:
    """The preset that fewest settings differ from."""
    settings = flat(config.model_dump(mode="json"))
    return min(PRESETS, key=lambda preset: sum(settings[name] != value for name, value in preset_settings(preset).items()))


def read(form: Form, changed: str = "", wish: dict[str, Any] | None = None) -> Reading:
    """Make the form consistent after `changed` was changed, and read it.

    Args:
        form: The boxes' values.
        changed: Which one a person touched; "" for none.
        wish: What a live view asks for instead: {"pick": sae}, {"set": {setting: value}}.
    """
    form = dict(form)
    form["model"] = hub_id(str(form["model"] or "").strip())
    if wish:
        changed = _granted(form, wish)
    if changed == "sae":
        form = with_named_sae(form)
    offered = saes_of(form["model"])
    if changed == "preset":
        form |= {
            setting: shown(setting, value) for setting, value in preset_settings(form["preset"]).items() if setting in _CHOSEN_BY_PRESET
        }
    if changed in ("preset", "model"):
        fit_to_model(form)
    _choose_sae(form, changed, offered)
    _choose_dataset(form, changed)
    reading = Reading(form, offered=offered)
    try:
        reading.config = config_of(form)
        refuse_misfits(reading.config)
    except LabError as problem:
        reading.problem, reading.fix, reading.still_empty = by_label(problem), mending(form, problem), isinstance(problem, StillEmpty)
    return reading


def config_of(form: Form) -> RunConfig:
    """The validated config of a form.

    Raises:
        LabError: For a box that is empty or means nothing, and a setting out of range.
    """
    refuse_unknown_model(form["model"])
    of_no_use = _UNUSED_BY[form["source"]]
    settings = {setting: meant(setting, form[setting]) for setting in FIELDS if setting not in of_no_use}
    source = "pocket" if form["source"] == "pocket" else str(form["data.source"] or "").strip()
    if not source or (form["source"] == "file" and not source.endswith(SUFFIXES)):
        raise StillEmpty(*_STILL_EMPTY[form["source"]])
    if not form["saes"] and not saes_of(form["model"]):
        found = "The lab knows no SAE of that name's model"
        raise LabError(
            f"The model {form['model']} was chosen", found, "Choose a model of the list, or name an SAE that was trained on this one"
        )
    if not form["saes"]:
        raise LabError("No SAE was chosen", "A run adapts the model to at least one", "Choose a layer and an SAE")
    saes = [sae_of(text).model_dump() for text in form["saes"]]
    chosen = {"name": str(form["name"] or "").strip()[:120], "model.model": form["model"], "data.source": source}
    try:
        return run_config({**nested(settings | chosen), "saes": saes})
    except LabError:  # sequences that the model cannot have come before the steps that are made of them
        refuse_too_long(settings["data.context_length"], ModelConfig(model=form["model"]))
        raise


def text_boxes_used(form: Form, local: bool) -> dict[str, bool]:
    """Which boxes about the text matter for the chosen source; `local`: files of this machine may be named."""
    source = form["source"]
    return {
        "dataset": source == "hub",
        "data.source": source == "hub" or (source == "file" and local),
        "data.config_name": source == "hub",
        "data.split": source == "hub",
        "data.column": source == "hub" or (source == "file" and str(form["data.source"]).endswith((".jsonl", ".csv"))),
    }


def card_of(text: str) -> SAECard | None:
    """The card of a chosen SAE; None where nothing has that name."""
    try:
        return resolve(sae_of(text))
    except LabError:
        return None


def _granted(form: Form, wish: dict[str, Any]) -> str:
    """Carry out what a live view asks for; which box that is as if touched."""
    if isinstance(wish.get("pick"), str):
        form["sae"] = wish["pick"]
        return "sae"
    for setting, value in (wish.get("set") or {}).items():
        if setting in FIELDS:
            form[setting] = shown(setting, value)
    return ""


def _choose_sae(form: Form, changed: str, offered: tuple[SAECard, ...]) -> None:
    """Model, layer and SAE agree again after one of them was changed."""
    now = card_of(form["sae"] or "")
    if changed == "model" and not _may_stay(now, offered):  # a box may say so when it was only looked into
        first = _first_offer(form["model"], offered)
        form |= {"sae": str(first.ref) if first else "", "saes": [str(first.ref)] if first else [], "layer": first.layer if first else None}
    elif changed == "layer":
        at_layer = tuple(card for card in offered if str(card.layer) == str(form["layer"]).strip())
        if at_layer and now not in at_layer:
            form["sae"] = str((alike(now, at_layer) if now else at_layer[0]).ref)
            _take(form, form["sae"])
        form["layer"] = _layer_of(form["sae"] or "")  # also after a layer was typed that has no SAE
    elif changed == "sae":
        if form["sae"]:
            _take(form, form["sae"])
    elif changed == "saes" and form["saes"]:
        form["saes"] = [whole(sae_of(text)) for text in form["saes"]]
        form["sae"] = form["sae"] if form["sae"] in form["saes"] else form["saes"][-1]
    if not form["several"]:
        form["saes"] = [form["sae"]] if form["sae"] else []
    if changed in ("sae", "saes"):
        form["layer"] = _layer_of(form["sae"] or "")


def _may_stay(now: SAECard | None, offered: tuple[SAECard, ...]) -> bool:
    """Whether the SAE chosen so far goes with a model: one of its own, or a folder, which could be anybody's."""
    return now is not None and (now in offered or (now.folder is not None and now.ref.release != POCKET_RELEASE))


def _take(form: Form, sae: str) -> None:
    """Put an SAE into the run: in place of the others, or, with several, in place of the one at the same place."""
    others = [text for text in form["saes"] if text != sae and _place(text) != _place(sae)] if form["several"] else []
    form["saes"] = sorted([*others, sae], key=lambda text: (_place(text), text))


def _choose_dataset(form: Form, changed: str) -> None:
    """A dataset chosen by name fills in where its text is; the list names it as long as that is its id."""
    if form["source"] == "hub" and changed in ("dataset", "data.source"):
        typed = str(form["dataset" if changed == "dataset" else "data.source"] or "").strip()
        if known := known_dataset(typed):
            form |= {f"data.{name}": value or "" for name, value in known.settings.items()}
    sources = [each.source for each in KNOWN_DATASETS]
    form["dataset"] = form["data.source"] if form["source"] == "hub" and form["data.source"] in sources else ""


def _place(sae: str) -> tuple[int, str]:
    card = card_of(sae)
    return (card.layer, site_of(card)) if card else (-1, sae)


def _layer_of(sae: str) -> int | None:
    card = card_of(sae)
    return card.layer if card and card.layer >= 0 else None


def _first_offer(model: str, offered: tuple[SAECard, ...]) -> SAECard | None:
    """What a newly chosen model starts with: the pocket's default, else the first SAE offered at a layer in the middle."""
    if not offered:
        return None
    if model == POCKET_MODEL:
        return resolve(default_pocket_sae())
    layers = sorted({card.layer for card in offered})
    middle = layers[(len(layers) - 1) // 2]
    return next(card for card in offered if card.layer == middle)
