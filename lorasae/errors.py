"""The one kind of error that is shown to a person as it stands."""

import difflib


class LabError(Exception):
    """A problem the user can act on, told in three parts: what was asked, what was found, what to do.

    Anything that is not a LabError is a bug of ours and keeps its traceback.
    """

    def __init__(self, asked: str, found: str, remedy: str) -> None:
        self.asked, self.found, self.remedy = asked, found, remedy
        super().__init__(" ".join(sentence(part) for part in (asked, found, remedy)))


class Busy(LabError):
    """Something that works in a moment. Answered with 503."""


def sentence(text: str) -> str:
    """`text` with a full stop at its end if it has no closing mark of its own."""
    text = text.strip()
    return text if text.endswith((".", "?", "!", ":")) else text + "."


def nearest(name: str, known: list[str], n: int = 3) -> str:
    """The known names closest to a mistyped one, ready to stand in a remedy; all of them when none is close."""
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.4) or known[:n]
    return ", ".join(close) if close else "none"
