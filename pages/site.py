"""Gradio's pages mounted in the lab's own web app."""

from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI

from lorasae.lab import Lab
from lorasae.web.app import guarded, web_app
from pages import PAGES

ASSETS = Path(__file__).parents[1] / "assets" / "web"
HEAD = """
<link rel="stylesheet" href="/lab/assets/lab.css">
<link rel="icon" href="/lab/assets/logo.svg" type="image/svg+xml">
<script type="module" src="/lab/assets/lab.js"></script>
"""


def blocks(lab: Lab) -> gr.Blocks:
    """Every page, behind one navigation bar."""
    site = gr.Blocks(title="LoRA-SAE Lab", analytics_enabled=False)
    for page in PAGES:
        if page.path == "/":
            with site:
                page.build(lab)
        else:
            with site.route(page.title, page.path, show_in_navbar=page.in_navbar):
                page.build(lab)
    return site.queue(max_size=64, default_concurrency_limit=8)


def build_app(lab: Lab) -> FastAPI:
    """The whole web app: own routes first, Gradio below them, the guard around both."""
    app = web_app(lab)
    gr.mount_gradio_app(
        app,
        blocks(lab),
        path="/",
        show_error=False,
        max_file_size="20mb",
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        footer_links=[],
        enable_monitoring=False,
        theme=theme(),
        head=HEAD,
    )
    return app


def theme() -> gr.themes.Base:
    """System fonts, so that nothing is fetched from elsewhere; colours live in assets/web/lab.css."""
    system = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
    return gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=system, font_mono=mono)


def serve(lab: Lab) -> None:
    """Listen until a signal ends it."""
    print(f"LoRA-SAE Lab: http://{lab.settings.host}:{lab.settings.port}", flush=True)
    uvicorn.run(
        guarded(build_app(lab), lab.settings),
        host=lab.settings.host,
        port=lab.settings.port,
        log_level="warning",
        timeout_graceful_shutdown=2,
        proxy_headers=True,
    )
