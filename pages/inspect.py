"""The page Inspect: one live view (assets/web/inspect.js) that reads what to show from the address."""

import gradio as gr

from lorasae.lab import Lab
from pages.parts import island


def build(lab: Lab) -> None:
    """Build the page inside its route."""
    gr.HTML(island("inspect"))
