"""The browser floor: one file per page, each with `build(lab)`, called inside the page's route. PAGES is the only list of them."""

from collections.abc import Callable
from dataclasses import dataclass

from lorasae.lab import Lab
from pages import adapt, catalog, gallery, home, inspect, run, runs


@dataclass(frozen=True)
class Page:
    """A page and its place."""

    title: str
    path: str
    build: Callable[[Lab], None]
    in_navbar: bool = True


PAGES: tuple[Page, ...] = (
    Page("Home", "/", home.build),
    Page("Adapt", "/adapt", adapt.build),
    Page("SAEs", "/catalog", catalog.build),
    Page("Runs", "/runs", runs.build),
    Page("Gallery", "/gallery", gallery.build),
    Page("Run", "/run", run.build, in_navbar=False),
    Page("Inspect", "/inspect", inspect.build),
)
