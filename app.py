"""The lab in the browser: `python app.py`, on this machine or as a Space. Everything is put together here."""

import sys

from lorasae.errors import LabError
from lorasae.lab import open_lab
from lorasae.settings import settings_from


def main() -> int:
    """Serve until told to stop; 1 after a problem told in a sentence."""
    try:
        lab = open_lab(settings_from())
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    from pages.site import serve  # Gradio takes seconds to import: a problem with the settings is told at once

    with lab:
        serve(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
