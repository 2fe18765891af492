"""Which addresses the lab answers at all. Gradio brings some eighty; a browser on the lab's pages uses the few listed here.

What is not listed is closed in whatever way it is spelled: the list is held against the decoded path, whole. Closed are, among others,
Gradio's file route (it fetches remote addresses, too), its proxy, component server, deep links, media streams, custom components, run
history, monitoring, profiling, vibe editor, recordings, login, tokens, API by name, API documents, reload and MCP.
"""

import re
from collections.abc import Iterable

MEGABYTE = 1_000_000
CALLBACK = "/auth/callback"  # one of the paths to which the Hub sends those who signed in to a Space
_SEGMENTS = r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*"
_OWN = re.compile(rf"/lab/{_SEGMENTS}/?|/healthz|/readyz|/auth/(?:sign-in|callback|sign-out)", re.ASCII)
_GRADIO = re.compile(
    rf"""/(?:assets|static)/{_SEGMENTS}       # its scripts, styles, fonts and pictures
    | /(?:theme\.css|favicon\.ico|robots\.txt|manifest\.json|config/?)
    | /gradio_api/(?:
          theme\.css | app_id | startup-events | heartbeat/[\w-]{{1,64}}
        | queue/join | queue/data | run/predict/? | reset/? | cancel   # a click
        | upload | upload_progress
    )""",
    re.VERBOSE | re.ASCII,
)
_GRADIO_ROOTS = ("gradio_api", "proxy=", "file=", "file", "login", "logout", "monitoring", "pwa_icon", "svelte", "custom_component", "api")
_UPLOADS = ("/lab/uploads", "/gradio_api/upload")
_LASTING = re.compile(r"/assets/.*-[\w-]{8,10}\.\w+", re.ASCII)


class Addresses:
    """The addresses of a lab with these pages."""

    def __init__(self, pages: Iterable[str]) -> None:
        self.pages = frozenset(pages)

    def is_page(self, path: str) -> bool:
        """Whether a person goes there."""
        return path in self.pages or path.removesuffix("/") in self.pages

    def is_entrance(self, path: str) -> bool:
        """Whether a link on another site may lead a person there."""
        return self.is_page(path) or path == CALLBACK

    def is_open(self, path: str) -> bool:
        """Whether the lab answers there."""
        return self.is_page(path) or _OWN.fullmatch(path) is not None or _GRADIO.fullmatch(path) is not None


def is_gradios(path: str) -> bool:
    """Whether a closed address is one that Gradio would answer, as against one that nobody knows."""
    return path.strip("/").lower().startswith(_GRADIO_ROOTS)


def most_bytes(path: str) -> int:
    """How much may be sent to an address: a text to adapt on, or settings."""
    return 25 * MEGABYTE if path.removesuffix("/") in _UPLOADS else MEGABYTE


def is_lasting(path: str) -> bool:
    """Whether what lies there never changes: its name holds a hash of it."""
    return _LASTING.fullmatch(path) is not None
