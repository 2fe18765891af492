"""Gradio's pages mounted in the lab's own web app."""

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import gradio as gr
from fastapi import FastAPI
from gradio.routes import App

from lorasae.lab import Lab
from lorasae.sources.shelf import shelf
from lorasae.web.app import WebApp, guarded, web_app
from lorasae.web.notices import may_have_notices
from lorasae.web.server import LabServer
from pages import PAGES
from pages.look import head, theme

_MOST_WAITING = 64  # clicks; further ones are told that the lab is busy
_AT_ONCE = 8  # clicks of one kind
_CLEARED_S = (3600, 24 * 3600)  # every hour, of Gradio's files that are a day old


def blocks(lab: Lab) -> gr.Blocks:
    """Every page, behind one navigation bar."""
    site = gr.Blocks(title="LoRA-SAE Lab", analytics_enabled=False, delete_cache=_CLEARED_S)
    for page in PAGES:
        if page.path == "/":
            with site:
                page.build(lab)
        else:
            with site.route(page.title, page.path, show_in_navbar=page.in_navbar):
                page.build(lab)
    site.space_id = None  # on a Space, Gradio's scripts would ask huggingface.co and Google for a header of their own
    return site.queue(max_size=_MOST_WAITING, default_concurrency_limit=_AT_ONCE)


def build_app(lab: Lab) -> WebApp:
    """The whole web app: own routes first, Gradio below them."""
    web = web_app(lab)
    with _no_apps_but_the_last():
        site = blocks(lab)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SSR mode is not supported")  # it is switched off
        gr.mount_gradio_app(
            web.app,
            site,
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
            head=head(lab.settings.access, may_have_notices=may_have_notices(lab.settings)),
        )
    (site.app,) = gradio_apps(web.app)
    return web


@contextmanager
def _no_apps_but_the_last() -> Iterator[None]:
    """Gradio makes a web app of its own whenever a page is finished, a quarter of a second each; only the one mounted is ever asked."""
    made = App.create_app
    App.create_app = staticmethod(lambda *_, **__: None)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        App.create_app = staticmethod(made)  # type: ignore[method-assign,assignment]


def serve(lab: Lab, listener: socket.socket, told_to_leave: Event) -> None:
    """Answer until a signal ends it; not at all if one has come already."""
    web = build_app(lab)
    app = guarded(web.app, lab.settings, [page.path for page in PAGES])
    Thread(target=shelf, daemon=True).start()  # half a second of reading, once, before somebody asks for it
    print(f"LoRA-SAE Lab: http://{lab.settings.host}:{lab.settings.port}", flush=True)
    if told_to_leave.is_set():
        raise KeyboardInterrupt
    LabServer(app, lambda: _end_streams(web)).run(sockets=[listener])


def _end_streams(web: WebApp) -> None:
    """The lab's own, and those by which Gradio's pages stay connected."""
    web.live.close()
    for gradio_app in gradio_apps(web.app):
        gradio_app.stop_event.set()
        gradio_app.get_blocks()._queue.close()


def gradio_apps(app: FastAPI) -> list[App]:
    """What Gradio mounted into the app."""
    mounted = [getattr(route, "app", None) for route in app.routes]
    return [each for each in mounted if isinstance(each, App)]
