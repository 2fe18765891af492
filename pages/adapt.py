"""The page Adapt: choose model, SAEs, recipe and text; see what it will take; start."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context
from huggingface_hub import HfApi

from lorasae.config import PRESETS, run_config
from lorasae.errors import LabError
from lorasae.identity import NOBODY, NotSignedIn, refuse_nobody
from lorasae.jobs.admission import check_admissible
from lorasae.lab import Lab
from lorasae.planning.config_text import config_of_yaml, flat, nested, preset_settings
from lorasae.planning.continuing import settings_to_continue
from lorasae.planning.errand import Errands
from lorasae.planning.probing import Probing
from lorasae.planning.uploads import keep, refuse_too_little_text
from lorasae.sources.hub_access import HubToken
from lorasae.store.run_records import FeatureRef, Pins
from lorasae.store.started_from import find_start
from lorasae.web.access import may_look
from lorasae.web.adapt_routes import is_training
from lorasae.web.logins import token_of
from pages import adapt_views as views
from pages.adapt_fields import FIELDS, hint, shown
from pages.adapt_form import Form, Reading, first_form, form_of, read, text_boxes_used
from pages.adapt_layout import Layout, lay_out
from pages.adapt_mending import by_label, fit_to_model
from pages.adapt_paste import sae_of, with_pin
from pages.adapt_presets import alert, preset_differences, problem_note
from pages.parts import owner

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_SAVE_JS = """(text) => {
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(new Blob([text], { type: "text/yaml" })), download: "run.yaml" });
  link.click();
  URL.revokeObjectURL(link.href);
}"""
_GO_JS = "(address) => { if (address) window.location.assign(address); }"
_LAYERS_FROM = ("", "model", "layer", "sae", "saes", "several")  # what may change what the boxes of layer and SAE offer
_TEXT_BOXES_FROM = ("", "preset", "source", "dataset", "data.source")  # what may change which boxes about the text are used


def build(lab: Lab) -> None:
    """Build the page inside its route."""
    local = lab.settings.access == "local"
    probing = Probing(lab.settings.home, Errands())
    first = read(first_form())
    layout = lay_out(first, local)
    for name, content in _first_views(first, probing).items():
        layout.views[name].value = content
    names = list(layout.boxes)
    boxes = list(layout.boxes.values())
    outputs = [*boxes, *layout.views.values()]
    outputs += [layout.yaml, layout.command, layout.start, layout.upload, layout.gone]

    def permitted(reading: Reading, visitor: str) -> Reading:
        """The reading, with what this visitor may not do as its problem."""
        try:
            refuse_nobody("A run was asked for", visitor, lab.settings.access)
        except NotSignedIn as problem:  # a problem beside that of the settings, if they have one
            reading.nobody, reading.sign_in = str(problem), lab.settings.hub_app is not None
        if reading.config and not reading.problem and not reading.nobody:
            try:
                check_admissible(reading.config, visitor, lab.settings.home, lab.jobs.limits)
                refuse_too_little_text(reading.config)  # only now: a visitor learns nothing of a file that is not the visitor's
            except LabError as problem:
                reading.problem = by_label(problem)
        return reading

    def answered(before: Form, reading: Reading, changed: str, visitor: str) -> dict[Any, Any]:
        """What the browser must be told: boxes that are no longer as it has them, and every view."""
        reading = permitted(reading, visitor)
        return _updates(layout, before, reading, changed, local) | _views(layout, reading, probing, lab, visitor)

    def touched(changed: str) -> Callable[..., dict[Any, Any]]:
        def handler(request: gr.Request, *values: Any) -> dict[Any, Any]:
            form = dict(zip(names, values, strict=True))
            return answered(form, read(form, changed), changed, owner(lab, request))

        return handler

    def wished(request: gr.Request, wish: str, *values: Any) -> dict[Any, Any]:
        form = dict(zip(names, values, strict=True))
        try:
            asked = json.loads(wish)
        except ValueError:
            asked = {}
        return answered(form, read(form, wish=asked if isinstance(asked, dict) else {}), "", owner(lab, request))

    def opened(request: gr.Request) -> dict[Any, Any]:
        visitor = owner(lab, request)
        form, notice = _form_of_address(lab, dict(request.query_params), visitor, token_of(lab.settings, request.cookies))
        if form == first.form:  # a page just opened: nothing to tell it, and nothing to take from a quick hand
            told = {layout.views["notice"]: views.note(notice), layout.views["limits"]: views.limits_note(lab, visitor)}
            if visitor != NOBODY:
                return told
            reading = permitted(read(form), visitor)
            why_not = {
                layout.views["problem"]: problem_note(reading),
                layout.views["estimate"]: views.estimate(reading, probing, False, visitor),
            }
            return told | why_not | {layout.start: views.start_button(reading)}
        return answered(first.form, read(form), "", visitor) | {layout.views["notice"]: views.note(notice)}

    def models_listed() -> Any:
        """Apart from the rest, because the registry's first reading takes most of a second. The box's value is left to a quick hand."""
        return gr.update(choices=views.model_choices())

    def uploaded(request: gr.Request, path: str | None, *values: Any) -> dict[Any, Any]:
        form, visitor = dict(zip(names, values, strict=True)), owner(lab, request)
        if not path:
            return {layout.views["uploaded"]: ""}
        try:
            kept = keep(lab.settings.home, visitor, Path(path).name, Path(path).read_bytes())
        except LabError as problem:
            return {layout.views["uploaded"]: alert(str(problem)), layout.upload: None}
        finally:
            Path(path).unlink(missing_ok=True)
        after = form | {"data.source": str(kept.path)}
        if kept.columns and form["data.column"] not in kept.columns:
            after["data.column"] = kept.columns[0]
        told = answered(form, read(after), "", visitor)
        rows = f" The text is read from the field {after['data.column']!r}." if kept.columns else ""
        sentence = f"{kept.name} is kept: {views.count(kept.n_bytes, 'byte')}, {views.count(kept.n_documents, 'document')}.{rows}"
        return told | {layout.views["uploaded"]: views.note(sentence), layout.upload: None}

    def yaml_read(request: gr.Request, text: str, *values: Any) -> dict[Any, Any]:
        form, visitor = dict(zip(names, values, strict=True)), owner(lab, request)
        try:
            after = form_of(config_of_yaml(text)) | {"watch": form["watch"], "pinned": form["pinned"]}
        except LabError as problem:
            return {layout.views["problem"]: alert(str(problem))}
        return answered(form, read(after), "", visitor)

    def yaml_opened(path: str | None) -> Any:
        return gr.skip() if not path else Path(path).read_text(encoding="utf-8", errors="replace")[:200_000]

    def start(request: gr.Request, *values: Any) -> dict[Any, Any]:
        form, visitor = dict(zip(names, values, strict=True)), owner(lab, request)
        reading = permitted(read(form), visitor)
        if reading.config is None or reading.problem or reading.nobody:
            return answered(form, reading, "", visitor)
        state = json.dumps([reading.config.model_dump(mode="json"), form["watch"], form["pinned"]], sort_keys=True)
        submission = hashlib.sha256(f"{request.session_hash} {visitor} {state}".encode()).hexdigest()
        try:
            token = token_of(lab.settings, request.cookies)
            run = lab.jobs.submit(visitor, reading.config, submission, reading.config.name, _pins(form), token)
        except LabError as problem:
            return {layout.views["problem"]: alert(str(problem))}
        return {layout.gone: f"/run?run={run.run_id}"}

    for name, box in layout.boxes.items():
        if name != "pinned":
            touches = [box.input, box.blur] if isinstance(box, gr.Textbox) else [box.input]  # input alone misses what is pasted by mouse
            gr.on(touches, touched(name), boxes, outputs, trigger_mode="always_last", **_QUIET)
    layout.wish.change(wished, [layout.wish, *boxes], outputs, trigger_mode="multiple", **_QUIET)
    layout.upload.upload(uploaded, [layout.upload, *boxes], outputs, **_QUIET)
    layout.yaml_read.click(yaml_read, [layout.yaml, *boxes], outputs, **_QUIET)
    layout.yaml_file.upload(yaml_opened, layout.yaml_file, layout.yaml, **_QUIET).then(yaml_read, [layout.yaml, *boxes], outputs, **_QUIET)
    layout.yaml_save.click(None, layout.yaml, None, js=_SAVE_JS, **_QUIET)
    layout.start.click(start, boxes, outputs, **_QUIET).then(None, layout.gone, None, js=_GO_JS, **_QUIET)
    page = Context.root_block
    assert page is not None  # build is called inside a route
    page.load(opened, None, outputs, **_QUIET).then(models_listed, None, layout.boxes["model"], **_QUIET)


def _first_views(reading: Reading, probing: Probing) -> dict[str, str]:
    """What the page shows before its first handler has answered."""
    return {
        "map": views.sae_map(reading),
        "picture": views.picture(reading),
        "estimate": views.estimate(reading, probing, False, ""),
        "differences": preset_differences(reading),
        "preview": views.text_preview(reading),
    }


def _updates(layout: Layout, before: Form, reading: Reading, changed: str, local: bool) -> dict[Any, Any]:
    """Boxes whose value the form has and the browser has not; choices where they may have changed."""
    form = reading.form
    told: dict[Any, Any] = {
        layout.boxes[name]: gr.update(value=value) for name, value in form.items() if name in layout.boxes and value != before.get(name)
    }
    alpha = layout.boxes["adapter.alpha"]
    told[alpha] = {**told.get(alpha, gr.update()), "info": hint("adapter.alpha", form)}
    if changed in _TEXT_BOXES_FROM:  # an answer about another box may arrive late, and would hide what was shown meanwhile
        for name, used in text_boxes_used(form, local).items():
            told[layout.boxes[name]] = {**told.get(layout.boxes[name], gr.update()), "visible": used or "hidden"}
    if changed in _LAYERS_FROM:
        told[layout.boxes["layer"]] = gr.update(choices=views.layer_choices(reading.offered), value=form["layer"])
        told[layout.boxes["sae"]] = gr.update(choices=views.sae_choices(reading.offered, form["layer"]), value=form["sae"])
        told[layout.boxes["saes"]] = gr.update(choices=[(views.chosen_label(text), text) for text in form["saes"]], value=form["saes"])
    return told


def _views(layout: Layout, reading: Reading, probing: Probing, lab: Lab, visitor: str) -> dict[Any, Any]:
    yaml, command = views.texts(reading)
    return {
        layout.views["map"]: views.sae_map(reading),
        layout.views["picture"]: views.picture(reading),
        layout.views["estimate"]: views.estimate(reading, probing, is_training(lab), visitor),
        layout.views["differences"]: preset_differences(reading),
        layout.views["preview"]: views.text_preview(reading),
        layout.views["problem"]: problem_note(reading),
        layout.views["address"]: views.address(reading),
        layout.views["pinned"]: views.pinned_note(reading.form["pinned"]),
        layout.views["limits"]: views.limits_note(lab, visitor),
        layout.yaml: yaml if reading.config else gr.skip(),
        layout.command: command,
        layout.start: views.start_button(reading),
    }


def _form_of_address(lab: Lab, asked: dict[str, str], visitor: str, token: HubToken) -> tuple[Form, str]:
    """The form that a link restores, and a sentence about it: a run to do again, or preset, model, SAEs and what differs."""
    if asked.get("from"):
        return _form_of_run(lab, asked, visitor)
    if asked.get("continue"):
        return _form_to_continue(lab, asked["continue"][:200], visitor, token)
    preset = asked["preset"] if asked.get("preset") in PRESETS else "default"
    form = first_form(preset)
    try:
        changed = json.loads(asked.get("with") or "{}")
        settings = {name: value for name, value in changed.items() if name in preset_settings("default")}
        config = run_config(nested(settings), preset)
        form = form_of(config, preset) | {
            "name": "",
            "model": form["model"],
            "layer": form["layer"],
            "sae": form["sae"],
            "saes": form["saes"],
        }
        restored = flat(config.model_dump(mode="json"))
        form |= {name: shown(name, restored[name]) for name in FIELDS}
    except (ValueError, AttributeError, LabError):
        return first_form(preset), "The link to this page holds settings that are not understood; the preset's stand here instead."
    if asked.get("model"):
        form = read(form | {"model": asked["model"][:200]}, "model").form
    elif "data.context_length" not in settings:
        fit_to_model(form)
    named = [sae_of(text[:300]) for text in asked.get("saes", "").split("|") if text.strip()][:16]
    if asked.get("release"):
        named = [sae_of(f"{asked['release'][:200]} / {asked.get('sae_id', '')[:200]}")]
    if named:
        form["several"] = len(named) > 1
        form["saes"] = []
        for ref in named:
            form = read(form | {"sae": str(ref)}, "sae").form
    if len(named) == 1 and re.fullmatch(r"\d{1,9}", asked.get("feature", ""), re.ASCII):
        form["pinned"] = with_pin(form["pinned"], named[0], int(asked["feature"]))
    return form, ""


def _form_of_run(lab: Lab, asked: dict[str, str], visitor: str) -> tuple[Form, str]:
    """The settings of a run, to be started again; its pins come along."""
    run_id = asked["from"]
    try:
        run = lab.store.open_id(run_id)
        if not may_look(run, visitor):
            raise LabError("A run was asked for", "There is none of that address that you can see", "Choose one on the page Runs")
        form, pins = form_of(run.config), run.pins
        title = run.about.name or run.config.name or run_id
    except LabError as problem:
        return first_form(), str(problem)
    if asked.get("trust"):
        form["trust_measured"] = True
    form["name"] = f"{title} again"[:120] if title != run_id else ""
    form["watch"] = pins.text
    form["pinned"] = [vars(feature) for feature in pins.features]
    return form, f"The settings of the run {title} are filled in. Change what you like; the run itself stays as it is."


def _form_to_continue(lab: Lab, start: str, visitor: str, token: HubToken) -> tuple[Form, str]:
    """The settings by which an adapter is gone on with: of a run that is finished, or one of the Hub."""
    try:
        refuse_nobody(f"The adapter {start} was to be gone on with", visitor, lab.settings.access)
        found = find_start(start, visitor, lab.store, HfApi(token=token))
        settings = settings_to_continue(start, found)
        if found.run is not None and not settings["train"]["tokens"]:
            settings["train"]["tokens"] = run_config({}).train.tokens  # it was only measured; now it is to be trained
        form = form_of(run_config(settings))
    except LabError as problem:
        return first_form(), str(problem)
    if found.run is None:
        form = read(form, "model").form  # whose SAEs are others than the pocket model's
        form["name"] = start[:120]
        return form, f"The adapter {start} is to be measured as it is. Choose the SAE to look at it with; give training tokens to go on."
    title = found.run.about.name or found.run.config.name
    form["name"] = f"{title} continued"[:120] if title else ""
    form["watch"], form["pinned"] = found.run.pins.text, [vars(feature) for feature in found.run.pins.features]
    notice = f"The run goes on from the adapter of {title or start}, with its settings. Change the tokens, the learning rate or the SAE."
    return form, notice


def _pins(form: Form) -> Pins:
    features = tuple(FeatureRef(each["release"], each["sae_id"], int(each["feature"])) for each in form["pinned"] or [])
    text = str(form["watch"] or "").strip()[:2000]
    return Pins(text, features) if text else Pins(features=features)
