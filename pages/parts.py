"""What two pages or more share."""

import html
import json
from typing import Any

import gradio as gr

from lorasae.lab import Lab
from lorasae.web.logins import owner_of


def island(name: str, **data: Any) -> str:
    """The place of a live view. `assets/web/lab.js` finds it and mounts `assets/web/NAME.js` on it; data reaches it as JSON, escaped."""
    return f'<div class="lab-island lab-{name}" data-lab="{name}" data-props="{html.escape(json.dumps(data), quote=True)}"></div>'


def owner(lab: Lab, request: gr.Request) -> str:
    """Who is asking."""
    return owner_of(lab.settings, request.cookies)
