"""The page of all runs, and of several compared: an island."""

import gradio as gr

from lorasae.lab import Lab
from pages.parts import island


def build(lab: Lab) -> None:
    """Build the page inside its route."""
    gr.HTML(island("runs"))
