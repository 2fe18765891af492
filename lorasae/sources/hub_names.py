"""What names on the Hub look like: one pattern each, for whoever reads one that somebody typed or published, browsers included."""

import re

from lorasae.errors import LabError

_PART = r"[A-Za-z0-9_]+(?:(?:-\.|\.-|[.\-])[A-Za-z0-9_]+)*"  # at its ends no - and no ., nowhere -- or ..
REPO_ID = rf"{_PART}/{_PART}"  # NAMESPACE/NAME
LICENCE = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,49}"
NO_NAME = "That is no name of a repository on the Hub: NAMESPACE/NAME, each of letters, digits, - _ and ., and no longer than 96"
_LONGEST = 96  # letters of either part


def is_repo_id(name: str) -> bool:
    """Whether a repository on the Hub may be called so."""
    parts = name.split("/")
    return all(len(part) <= _LONGEST for part in parts) and not name.endswith(".git") and re.fullmatch(REPO_ID, name) is not None


def refuse_no_name(asked: str, name: str) -> None:
    """Whether somebody typed a name, before the Hub is asked about it.

    Raises:
        LabError: If no repository may be called so.
    """
    if not is_repo_id(name):
        raise LabError(asked, NO_NAME, "Give it as NAMESPACE/NAME, such as your-name/your-adapter")
