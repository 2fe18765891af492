"""The page of one run: an island that reads the run's id from the address and everything else from the run."""

import gradio as gr

from lorasae.config import RunConfig
from lorasae.lab import Lab
from pages.parts import island


def build(lab: Lab) -> None:
    """Build the page inside its route. The default settings travel with it, so that the page can show what a run changed."""
    gr.HTML(island("run", defaults=RunConfig().model_dump(mode="json")))
