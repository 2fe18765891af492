"""Where everything that a lab keeps lies on this machine."""

import os
from pathlib import Path


def home() -> Path:
    """Runs, index and caches: LORASAE_HOME, else ~/.lorasae."""
    return Path(os.environ.get("LORASAE_HOME") or "~/.lorasae").expanduser()
