"""The lab in the browser: `python app.py`, on this machine or as a Space. Everything is put together here."""

import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def main() -> int:
    """Serve until told to stop; 1 after a problem told in a sentence."""
    told = threading.Event()

    def leave(number: int, frame: Any) -> None:
        """The first word to end, before the server listens for it. Some package's import may swallow or wrap this."""
        told.set()
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        return _serve(told)
    except (KeyboardInterrupt, Exception):  # it may come at any import, so that all are made below, and be wrapped by whoever is imported
        if told.is_set():
            return 130
        raise


def _serve(told: threading.Event) -> int:
    from lorasae.errors import LabError
    from lorasae.lab import open_lab
    from lorasae.settings import settings_from
    from lorasae.web.server import listening

    try:
        settings = settings_from()
        with listening(settings) as listener, open_lab(settings) as lab:
            _prepare_gradio(settings.home)
            with _no_type_stubs():  # Gradio takes seconds to import: a problem with the settings was told before
                if settings.zero_gpu:
                    from lorasae.web.zero_gpu import meet_zero_gpu

                    meet_zero_gpu()
                from pages.site import serve

            serve(lab, listener, told)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _prepare_gradio(home: Path) -> None:
    """What Gradio and the Hub's client read when they are imported: they report nothing, and keep their files in the lab's home."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_SSR_MODE"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(home / "gradio"))


@contextmanager
def _no_type_stubs() -> Iterator[None]:
    """Each import of Gradio parses the source of all its components and writes type stubs beside them: for editors, and a third of the
    time it takes to start. It passes over a component whose source file is not found."""
    found = inspect.getfile

    def getfile(thing: Any) -> str:
        if hasattr(thing, "EVENTS"):
            raise OSError("not asked for")
        return found(thing)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = found


if __name__ == "__main__":
    sys.exit(main())
