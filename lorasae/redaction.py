"""Secrets taken out of what is shown or logged: whatever wrote a line, no token of a visitor or of the operator leaves in it."""

import io
import logging
import re
from typing import TextIO

_SECRETS = (
    (re.compile(r"\bhf_(?:oauth_)?[A-Za-z0-9_.-]{6,}"), "hf_…"),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1\2…"),
    (re.compile(r"(?i)(token[\"']?\s*[:=]\s*[\"']?)[A-Za-z0-9._~+/=-]{12,}"), r"\1…"),
    (re.compile(r"(?i)((?:authorization|x-api-key|api[_-]?key|secret|password|cookie)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;}]{4,}"), r"\1…"),
    (re.compile(r"\b(sk|ghp|gho|github_pat|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,}"), r"\1_…"),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), "AKIA…"),
    (re.compile(r"(https?://)[^\s/@:]+:[^\s/@]+@"), r"\1…@"),
    (re.compile(r"(?i)([?&](?:__sign|token|code|sig|signature|x-amz-[a-z-]+|policy|key-pair-id)=)[^&\s\"']+"), r"\1…"),
)


_SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "KEY")


def is_secret_name(variable: str) -> bool:
    """Whether a variable of the environment is of a kind that holds secrets: no process that we start is given it."""
    return any(word in variable.upper() for word in _SECRET_WORDS)


def redacted(text: str) -> str:
    """The text with `…` in place of everything that looks like a secret."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class RedactingFormatter(logging.Formatter):
    """For the server's log: tracebacks are redacted, too."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class RedactingStream(io.TextIOBase):
    """Standard error without secrets: Gradio prints the traceback of a handler that failed there, past every log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redacted(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()
