"""The page of published adapters, and of opening any adapter of the Hub: an island."""

import gradio as gr

from lorasae.lab import Lab
from pages.parts import island


def build(lab: Lab) -> None:
    """Build the page inside its route."""
    gr.HTML(island("gallery"))
