"""The Adapt page's parts and where they stand: boxes of the form at the left, what follows from them at the right."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pages.adapt_fields import DATASET, GROUPS, MODEL_DETAILS, TOKENS, Field, hint
from pages.adapt_form import SOURCES, Form, Reading, text_boxes_used
from pages.adapt_presets import preset_choices
from pages.adapt_views import chosen_label, dataset_choices, layer_choices, sae_choices, texts
from pages.parts import island


@dataclass
class Layout:
    """Every part that a handler reads or writes."""

    boxes: dict[str, Any]  # of the form, by their names in pages/adapt_form.py
    views: dict[str, gr.HTML]
    upload: gr.File
    yaml: gr.Textbox
    yaml_file: gr.UploadButton
    yaml_read: gr.Button
    yaml_save: gr.Button
    command: gr.Textbox
    start: gr.Button
    wish: gr.Textbox
    gone: gr.Textbox


def lay_out(reading: Reading, local: bool) -> Layout:
    """Build every part with the values of a first reading; `local`: files of this machine may be named."""
    form, boxes, views = reading.form, {}, {}
    gr.HTML(island("adapthead"))
    with gr.Row(elem_id="adapt-columns"):
        with gr.Column(scale=6, min_width=320):
            views["notice"] = _view()
            _section("Model and SAE", "The model keeps its weights; the SAE stands in its stream and is never trained.")
            _what(reading, boxes, views, local)
            _section("Recipe", "How long and how hard to train. Every setting can be changed below.")
            boxes["preset"] = gr.Radio(preset_choices(), value=form["preset"], label="Preset", elem_id="adapt-preset")
            views["differences"] = _view()
            boxes[TOKENS.setting] = _box(TOKENS, form)
            _section("Text", "What the model reads while it adapts. One document in eight is held out, and never trained on.")
            upload = _text(form, boxes, views, local)
            _section("Name and what to watch", "")
            boxes["name"] = gr.Textbox(
                value=form["name"], label="Name", info="Of your own, to find the run by. May stay empty.", max_lines=1, elem_id="adapt-name"
            )
            boxes["watch"] = gr.Textbox(
                value=form["watch"],
                label="A sentence to watch",
                lines=2,
                elem_id="adapt-watch",
                info="Its tokens are recorded at every evaluation, so that you can replay how they healed. Empty: a sentence of ours.",
            )
            views["pinned"] = _view()
            with gr.Accordion("Every setting", open=False, elem_id="adapt-advanced"):
                for group, fields in GROUPS.items():
                    _section(group, "")
                    for row in _rows(fields):
                        with gr.Row(equal_height=False):
                            for field in row:
                                boxes[field.setting] = _box(field, form)
                boxes[MODEL_DETAILS[0].setting] = _box(MODEL_DETAILS[0], form)
            with gr.Accordion("As YAML, and from a terminal", open=False, elem_id="adapt-texts"):
                command = gr.Textbox(
                    value=texts(reading)[1],
                    label="The same run from a terminal",
                    interactive=False,
                    lines=2,
                    buttons=["copy"],
                    elem_id="adapt-command",
                )
                yaml = gr.Textbox(
                    value=texts(reading)[0],
                    label="Settings as YAML",
                    info="Change it here or paste another, then press the button below: unknown settings are told.",
                    lines=12,
                    max_lines=24,
                    interactive=True,
                    buttons=["copy"],
                    elem_id="adapt-yaml",
                )
                with gr.Row():
                    yaml_read = gr.Button("Put this YAML into the form", elem_id="adapt-yaml-read")
                    yaml_file = gr.UploadButton("Open a YAML file", file_types=[".yaml", ".yml", ".json"], elem_id="adapt-yaml-file")
                    yaml_save = gr.Button("Save as a file", elem_id="adapt-yaml-save")
        with gr.Column(scale=5, min_width=320, elem_id="adapt-side"):
            views["picture"] = _view()
            views["estimate"] = _view()
            views["problem"] = _view()
            start = gr.Button("Start the adaptation", variant="primary", size="lg", elem_id="adapt-start")
            views["limits"] = _view()
    views["address"] = _view()
    boxes["pinned"] = gr.JSON(value=form["pinned"], visible="hidden")
    wish = gr.Textbox(elem_id="adapt-wish", elem_classes="adapt-hidden", container=False, show_label=False)
    gone = gr.Textbox(elem_id="adapt-gone", elem_classes="adapt-hidden", container=False, show_label=False)
    return Layout(
        boxes,
        views,
        upload,
        yaml,
        yaml_file,
        yaml_read,
        yaml_save,
        command,
        start,
        wish,
        gone,
    )


def _what(reading: Reading, boxes: dict[str, Any], views: dict[str, gr.HTML], local: bool) -> None:
    form = reading.form
    typed = " A folder of this machine can be typed too." if local else ""
    boxes["model"] = gr.Dropdown(
        [("Pocket model (built in)", "pocket")],
        value=form["model"],
        label="Model",
        allow_custom_value=True,
        elem_id="adapt-model",
        info=f"Type to search. The pocket model needs no network; others are fetched from the Hub when the run starts.{typed}",
    )
    with gr.Row(equal_height=False):
        boxes["layer"] = gr.Dropdown(
            layer_choices(reading.offered),
            value=form["layer"],
            label="Layer",
            allow_custom_value=True,
            scale=2,
            min_width=140,
            elem_id="adapt-layer",
            info="Layers that SAEs exist for.",
        )
        boxes["sae"] = gr.Dropdown(
            sae_choices(reading.offered, form["layer"]),
            value=form["sae"],
            label="SAE",
            allow_custom_value=True,
            scale=5,
            min_width=240,
            elem_id="adapt-sae",
            num_choices_shown=None,
            info=f"Type a width, an L0 or a name to search. Or paste RELEASE / ID, or an address on Hugging Face or Neuronpedia.{typed}",
        )
    views["map"] = _view()
    boxes["several"] = gr.Checkbox(
        value=form["several"],
        label="Several SAEs at once",
        elem_id="adapt-several",
        info="One per place. Each SAE you choose above is added; the adapter learns to live with all of them.",
    )
    with gr.Column(elem_id="adapt-several-part"):  # seen while the box is checked: site.css
        boxes["saes"] = gr.Dropdown(
            [(chosen_label(text), text) for text in form["saes"]],
            value=form["saes"],
            multiselect=True,
            allow_custom_value=True,
            label="SAEs of this run",
            info="Take one out with its cross.",
            elem_id="adapt-saes",
        )


def _text(form: Form, boxes: dict[str, Any], views: dict[str, gr.HTML], local: bool) -> gr.File:
    boxes["source"] = gr.Radio(list(SOURCES.items()), value=form["source"], label="Source", elem_id="adapt-source")
    used = text_boxes_used(form, local)
    with gr.Column(elem_id="adapt-file-part"):  # seen while that source is chosen: site.css
        upload = gr.File(
            label="A .txt, .jsonl or .csv file, up to 20 MB",
            file_types=[".txt", ".jsonl", ".csv"],
            type="filepath",
            height=132,
            elem_id="adapt-upload",
        )
        views["uploaded"] = _view()
    boxes["dataset"] = gr.Dropdown(
        dataset_choices(),
        value=form["dataset"],
        label="Known datasets",
        info="Fills in what is below. Only what the run reads is fetched.",
        filterable=False,
        visible=used["dataset"] or "hidden",
        elem_id="adapt-dataset",
    )
    hint = "An id on the Hub, of a dataset stored as files" + ("; or a .txt, .jsonl or .csv file of this machine." if local else ".")
    boxes["data.source"] = gr.Textbox(
        value=form["data.source"],
        label="Dataset or file",
        info=hint,
        max_lines=1,
        visible=used["data.source"] or "hidden",
        elem_id="adapt-data-source",
    )
    with gr.Row(equal_height=False):
        for field in DATASET:
            boxes[field.setting] = _box(field, form, visible=used[field.setting])
    views["preview"] = _view()
    return upload


def _box(field: Field, form: Form, *, visible: bool = True) -> Any:
    value, label, info, elem_id = form[field.setting], field.label, hint(field.setting, form), f"adapt-{field.setting.replace('.', '-')}"
    common: dict[str, Any] = {
        "value": value,
        "label": label,
        "info": info,
        "elem_id": elem_id,
        "min_width": 200,
        "visible": visible or "hidden",
    }  # what is not rendered would not take its value
    if field.kind == "count":
        return gr.Number(**common, step=1)  # not rounded: what was typed is what is judged
    if field.kind == "number":
        return gr.Number(**common, step=0.0001)
    if field.kind == "choice":
        return gr.Dropdown(list(field.choices), filterable=False, **common)
    if field.kind == "choices" and field.open_choices:
        return gr.Dropdown(list(field.choices), multiselect=True, allow_custom_value=True, **common)
    if field.kind == "choices":
        return gr.CheckboxGroup(list(field.choices), **common)
    if field.kind == "switch":
        return gr.Checkbox(**common)
    return gr.Textbox(**common, max_lines=1)


def _rows(fields: tuple[Field, ...]) -> list[tuple[Field, ...]]:
    return [fields[start : start + 3] for start in range(0, len(fields), 3)]


def _view() -> gr.HTML:
    """The place of a live view; it takes no room while it is empty."""
    return gr.HTML(elem_classes="adapt-view")


def _section(title: str, sentence: str) -> None:
    said = f"<p>{sentence}</p>" if sentence else ""
    gr.HTML(f'<div class="adapt-heading"><h2>{title}</h2>{said}</div>', elem_classes="adapt-view")
